//! Values as they stand in the file: every scalar as its own text, with its line and column.
//!
//! **Invariant**: a value's type is decided by who reads it, never by how YAML would guess it: `1.10` in
//! an environment stays `1.10`. Nothing here refuses a value: who refuses it knows what was meant.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_saphyr::Spanned;
use std::{borrow::Cow, fmt, marker::PhantomData};

/// A value and where it stands; with an alias or a merge, where it was written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A scalar as it was written.
pub(super) type Text = At<String>;

impl<T> At<T> {
    /// Another value at the same place.
    pub(super) fn with<U>(&self, value: U) -> At<U> {
        At { value, line: self.line, column: self.column }
    }
}

impl<T: fmt::Display> fmt::Display for At<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, defined, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self { value, line: defined.line(), column: defined.column() })
    }
}

impl JsonSchema for At<String> {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// A mapping with names of the user's choice, in the file's order.
#[derive(Clone, Debug)]
pub(super) struct Entries<V>(pub(super) Vec<(Text, V)>);

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

struct EntriesVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for EntriesVisitor<V> {
    type Value = Entries<V>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<V>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

impl<V: JsonSchema> JsonSchema for Entries<V> {
    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", V::schema_name()).into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<V>();
        json_schema!({ "type": "object", "additionalProperties": value })
    }
}

/// What Compose lets the user write in more than one shape: a scalar, a list of scalars, or a mapping.
#[derive(Clone, Debug)]
pub(super) enum Shape<M> {
    Scalar(String),
    List(Vec<Text>),
    Map(M),
}

struct ShapeVisitor<M>(PhantomData<M>);

impl<'de, M: Deserialize<'de>> Visitor<'de> for ShapeVisitor<M> {
    type Value = Shape<M>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a mapping")
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Shape<M>, E> {
        Ok(Shape::Scalar(value.to_string()))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Shape<M>, E> {
        Ok(Shape::Scalar(value.to_string()))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Shape<M>, E> {
        Ok(Shape::Scalar(value.to_string()))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Shape<M>, E> {
        Ok(Shape::Scalar(value.to_string()))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Shape<M>, E> {
        Ok(Shape::Scalar(value.to_owned()))
    }
    fn visit_unit<E: Error>(self) -> Result<Shape<M>, E> {
        Ok(Shape::Scalar(String::new()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape<M>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element()? {
            list.push(item);
        }
        Ok(Shape::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Shape<M>, A::Error> {
        M::deserialize(MapAccessDeserializer::new(map)).map(Shape::Map)
    }
}

impl<'de, M: Deserialize<'de>> Deserialize<'de> for Shape<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(PhantomData))
    }
}

/// No mapping may stand here; one that does is read over, for a better message than "invalid type".
#[derive(Clone, Debug)]
pub(super) struct NoMap;

impl<'de> Deserialize<'de> for NoMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}
