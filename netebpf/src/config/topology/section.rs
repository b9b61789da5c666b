//! A mapping with fixed keys that remembers the keys it does not know.

use super::text::Text;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error, IgnoredAny, IntoDeserializer, MapAccess, Visitor,
        value::StringDeserializer,
    },
    forward_to_deserialize_any,
};
use std::{borrow::Cow, fmt};

/// What a section's type says about keys that are none of its fields.
pub(super) trait Keys {
    /// Keys of Compose that are accepted with a warning, beside `x-…`.
    const WITHOUT_EFFECT: &'static [&'static str] = &[];
}

/// A mapping read into `T`, and the keys that `T` has no field for.
#[derive(Clone, Debug, Default)]
pub(super) struct Section<T> {
    pub(super) value: T,
    pub(super) others: Vec<Text>,
    /// The fields of `T`, as the file names them.
    pub(super) fields: &'static [&'static str],
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut others, mut fields): (Vec<Text>, &'static [&'static str]) = Default::default();
        let filter = Filter { deserializer, others: &mut others, fields: &mut fields };
        let value = T::deserialize(filter)?;
        Ok(Self { value, others, fields })
    }
}

/// Stands between a file and a derived struct: learns the struct's fields from it and hands it only
/// those.
struct Filter<'a, D> {
    deserializer: D,
    others: &'a mut Vec<Text>,
    fields: &'a mut &'static [&'static str],
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Filter<'_, D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        *self.fields = fields;
        self.deserializer.deserialize_map(FilterVisitor { visitor, others: self.others, fields })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, D::Error> {
        Err(D::Error::custom("a section is a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct FilterVisitor<'a, V> {
    visitor: V,
    others: &'a mut Vec<Text>,
    fields: &'static [&'static str],
}

impl<'de, V: Visitor<'de>> Visitor<'de> for FilterVisitor<'_, V> {
    type Value = V::Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let Self { visitor, others, fields } = self;
        visitor.visit_map(FilterMap { map, others, fields })
    }
}

struct FilterMap<'a, A> {
    map: A,
    others: &'a mut Vec<Text>,
    fields: &'static [&'static str],
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for FilterMap<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<Text>()? {
            if self.fields.contains(&key.value.as_str()) {
                let key: StringDeserializer<A::Error> = key.value.into_deserializer();
                return seed.deserialize(key).map(Some);
            }
            self.map.next_value::<IgnoredAny>()?;
            self.others.push(key);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

impl<T: JsonSchema + Keys> JsonSchema for Section<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        schema.insert("additionalProperties".into(), false.into());
        schema.insert("patternProperties".into(), serde_json::json!({ "^x-": true }));
        if let Some(properties) = schema
            .ensure_object()
            .entry("properties")
            .or_insert_with(|| serde_json::json!({}))
            .as_object_mut()
        {
            for key in T::WITHOUT_EFFECT {
                let note = json_schema!({ "description": "Accepted; has no effect." });
                properties.insert((*key).to_owned(), note.to_value());
            }
        }
        schema
    }
}
