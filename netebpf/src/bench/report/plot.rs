//! Plots as SVG that goes into a page.
//!
//! Across, everything is in percent of the place that there is, and down, in pixels: on a phone bars become shorter, and
//! letters stay as large as they are. Colours are the page's, by class, so they follow its light or dark.
//!
//! **Invariant**: every number that a plot shows is in its label, too, for those who do not see it.

use super::markup::escaped;
use std::fmt::Write as _;

/// How much of the height a line of a plot takes: letters, and the mark below them.
const ROW: usize = 40;
/// What stands above the first and below the last line.
const MARGIN: usize = 18;

/// An arm in a plot.
pub(super) struct Row<M> {
    /// Its name.
    pub(super) name: String,
    /// Its colour.
    pub(super) class: &'static str,
    /// What is printed at the right, the last one in bold where there are two.
    pub(super) cells: [String; 2],
    /// What is drawn.
    pub(super) mark: M,
}

/// A bar, and whiskers at its end.
pub(super) struct Bar {
    pub(super) median: f64,
    pub(super) lowest: f64,
    pub(super) highest: f64,
}

/// Bars from 0 to a number that more than one plot may share.
pub(super) fn bars(label: &str, heading: [&str; 2], rows: &[Row<Bar>], most: f64) -> String {
    let percent = |n: f64| (n.is_finite() && n >= 0.0 && most > 0.0).then(|| 100.0 * n / most);
    let mut svg = begin(label, MARGIN + rows.len() * ROW);
    right(&mut svg, 11, ["head", "head"], heading);
    for (index, Row { name, class, cells, mark }) in rows.iter().enumerate() {
        let y = MARGIN + index * ROW;
        named(&mut svg, y, name, cells);
        let Some(width) = percent(mark.median) else { continue };
        let _ = write!(
            svg,
            r#"<rect class="{class}" x="0" y="{}" width="{width:.2}%" height="12" rx="2" />"#,
            y + 19
        );
        let (Some(low), Some(high)) = (percent(mark.lowest), percent(mark.highest)) else {
            continue;
        };
        // The halo keeps the whisker visible on a bar of any colour.
        for class in ["halo", "whisker"] {
            line(&mut svg, class, [low, high], [y + 25, y + 25]);
            for end in [low, high] {
                line(&mut svg, class, [end, end], [y + 21, y + 29]);
            }
        }
    }
    svg + "</svg>"
}

/// A scale on which a tenth and ten times as much are equally far away, from one power of ten to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Decades {
    first: i32,
    last: i32,
}

impl Decades {
    /// One for all of these; none where there is nothing to show.
    pub(super) fn over(numbers: impl Iterator<Item = f64>) -> Option<Self> {
        let logarithms = numbers.filter(|n| n.is_finite() && *n > 0.0).map(f64::log10);
        let ends = logarithms.map(|n| (n.floor(), n.ceil()));
        let (first, last) =
            ends.reduce(|(low, high), (first, last)| (low.min(first), high.max(last)))?;
        // Numbers of doubles are between the powers of -324 and 309.
        let (first, last) = (first as i32, last as i32);
        Some(Self { first, last: last.max(first + 1) })
    }

    fn percent(self, n: f64) -> Option<f64> {
        let of = (n.log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        (0.0..=1.0).contains(&of).then_some(100.0 * of)
    }
}

/// The shapes of p50, p99 and p99.9: told apart without colours.
pub(super) const SHAPES: [&str; 3] = [
    r#"<circle r="4.5" />"#,
    r#"<rect x="-4" y="-4" width="8" height="8" />"#,
    r#"<path d="M 0 -5.5 L 5.5 4.5 L -5.5 4.5 Z" />"#,
];

/// Dots on a scale of microseconds.
pub(super) fn dots(label: &str, heading: &str, rows: &[Row<[f64; 3]>], scale: Decades) -> String {
    let (top, bottom) = (MARGIN, MARGIN + rows.len() * ROW);
    let mut svg = begin(label, bottom + MARGIN);
    right(&mut svg, 11, ["head", "head"], ["", heading]);
    for power in scale.first..=scale.last {
        let at = 10_f64.powi(power);
        let x = scale.percent(at).unwrap_or_default();
        line(&mut svg, "grid", [x, x], [top, bottom + 2]);
        let anchor = match power {
            _ if power == scale.first => "start",
            _ if power == scale.last => "end",
            _ => "middle",
        };
        let _ = write!(
            svg,
            r#"<text class="head" x="{x:.2}%" y="{}" text-anchor="{anchor}">{}</text>"#,
            bottom + MARGIN - 2,
            time(at)
        );
    }
    for (index, Row { name, class, cells, mark }) in rows.iter().enumerate() {
        let y = MARGIN + index * ROW;
        named(&mut svg, y, name, cells);
        let places = mark.map(|at| scale.percent(at));
        if let [Some(first), .., Some(last)] = places {
            line(&mut svg, "between", [first, last], [y + 25, y + 25]);
        }
        for (place, shape) in places.into_iter().zip(SHAPES) {
            let Some(x) = place else { continue };
            let _ = write!(
                svg,
                r#"<svg class="dot {class}" x="{x:.2}%" y="{}" overflow="visible">{shape}</svg>"#,
                y + 25
            );
        }
    }
    svg + "</svg>"
}

fn begin(label: &str, height: usize) -> String {
    let label = escaped(label);
    format!(r#"<svg role="img" aria-label="{label}" width="100%" height="{height}">"#)
}

/// The line of letters above a mark.
fn named(svg: &mut String, y: usize, name: &str, cells: &[String; 2]) {
    let _ = write!(svg, r#"<text x="0" y="{}">{}</text>"#, y + 14, escaped(name));
    // What stands alone is not in bold.
    let last = if cells[0].is_empty() { "" } else { "bold" };
    right(svg, y + 14, ["", last], cells.each_ref().map(String::as_str));
}

/// Two columns that end where the plot ends, the first one to the left of the second.
fn right(svg: &mut String, y: usize, classes: [&str; 2], cells: [&str; 2]) {
    for ((shift, class), cell) in [-60, 0].into_iter().zip(classes).zip(cells) {
        if cell.is_empty() {
            continue;
        }
        let _ = write!(
            svg,
            r#"<text class="{class}" x="100%" dx="{shift}" y="{y}" text-anchor="end">{}</text>"#,
            escaped(cell)
        );
    }
}

fn line(svg: &mut String, class: &str, [x1, x2]: [f64; 2], [y1, y2]: [usize; 2]) {
    let _ =
        write!(svg, r#"<line class="{class}" x1="{x1:.2}%" x2="{x2:.2}%" y1="{y1}" y2="{y2}" />"#);
}

/// A power of ten, of microseconds.
fn time(microseconds: f64) -> String {
    match microseconds {
        n if n < 1.0 => format!("{:.0} ns", n * 1e3),
        n if n < 1e3 => format!("{n:.0} µs"),
        n if n < 1e6 => format!("{:.0} ms", n / 1e3),
        n => format!("{:.0} s", n / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_has_all_numbers_on_it() {
        let scale = Decades::over([24.0, f64::NAN, 2018.0, 0.0].into_iter()).unwrap();
        assert_eq!(scale, Decades { first: 1, last: 4 });
        assert_eq!(scale.percent(10.0), Some(0.0));
        assert!((scale.percent(100.0).unwrap() - 100.0 / 3.0).abs() < 1e-9);
        assert_eq!([0.0, 1.0, f64::NAN].map(|n| scale.percent(n)), [None; 3]);
        assert_eq!(Decades::over([10.0].into_iter()), Some(Decades { first: 1, last: 2 }));
        assert_eq!(Decades::over([0.0, f64::NAN].into_iter()), None);
    }
}
