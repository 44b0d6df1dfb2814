//! Charts as static SVG, a few primitives only: lines, bars, cells, bands and ticks over two axes.
//!
//! Colours are classes, so that the style sheet decides for light, dark and paper. No text is wider than its place: labels
//! stand at ticks only.

use std::fmt::Write as _;

use super::markup::escape;

/// Size of a drawing, in its own units.
const WIDTH: f64 = 720.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm; values are above 0.
    Log,
}

pub(super) struct Axis {
    scale: Scale,
    from: f64,
    to: f64,
    title: String,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From `from` to at least `to`, with round ticks named by `name`.
    pub(super) fn linear(from: f64, to: f64, title: &str, name: impl Fn(f64) -> String) -> Self {
        Axis::stepped(from, to, 0.0, title, name)
    }

    /// From 0 to 100.
    pub(super) fn percent(title: &str) -> Self {
        Axis::linear(0.0, 100.0, title, |x| format!("{x:.0}"))
    }

    /// From 0 to `most`, with at most six decimals.
    pub(super) fn amounts(most: f64, title: &str) -> Self {
        let name = |x: f64| format!("{}", (x * 1e6).round() / 1e6);
        Axis::linear(0.0, most.max(1e-6), title, name)
    }

    /// The same for what is counted: ticks at whole numbers only.
    pub(super) fn counts(from: f64, to: f64, title: &str) -> Self {
        Axis::stepped(from, to, 1.0, title, |x| format!("{x:.0}"))
    }

    /// Ticks are at least `apart` from each other.
    fn stepped(from: f64, to: f64, apart: f64, title: &str, name: impl Fn(f64) -> String) -> Self {
        let mut axis = Axis::of(from, to, title, Vec::new());
        let step = nice((axis.to - from) / 5.0).max(apart);
        let first = (from / step).ceil() as i64;
        let last = (axis.to / step + 1e-9).floor() as i64;
        // Three times 0.2 is 0.6, not 0.6000000000000001.
        let scale = 10_f64.powf((-step.log10().floor()).max(0.0));
        let at = |i: i64| (i as f64 * step * scale).round() / scale;
        axis.ticks = (first..=last).map(|i| (at(i), name(at(i)))).collect();
        axis
    }

    /// Whole decades around `from` and `to`, which are above 0.
    pub(super) fn log(from: f64, to: f64, title: &str, name: impl Fn(f64) -> String) -> Self {
        let first = from.max(f64::MIN_POSITIVE).log10().floor() as i32;
        let last = (to.max(f64::MIN_POSITIVE).log10().ceil() as i32).max(first + 1);
        let at = |i: i32| 10_f64.powi(i);
        let ticks = (first..=last).map(|i| (at(i), name(at(i)))).collect();
        Axis {
            scale: Scale::Log,
            ..Axis::of(at(first), at(last), title, ticks)
        }
    }

    /// Only these ticks, from one end to the other.
    pub(super) fn of(from: f64, to: f64, title: &str, ticks: Vec<(f64, String)>) -> Self {
        Axis {
            scale: Scale::Linear,
            from,
            to: if to > from { to } else { from + 1.0 },
            title: title.into(),
            ticks,
        }
    }

    /// Where a value lies, from 0 to 1.
    fn part(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => {
                (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
            }
        };
        part.clamp(0.0, 1.0)
    }
}

/// 1, 2 or 5 times a power of ten, at least `x`.
fn nice(x: f64) -> f64 {
    let power = 10_f64.powf(x.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|f| f * power)
        .find(|step| *step >= x * 0.999_999)
        .unwrap_or(x)
}

/// From one value to another.
type Range = (f64, f64);

/// A cell of a grid: its level (0 to 8), and where it lies on both axes.
pub(super) type Shaded = (usize, Range, Range);

/// A drawing that grows.
pub(super) struct Plot {
    x: Axis,
    y: Axis,
    height: f64,
    body: String,
}

impl Plot {
    pub(super) fn new(x: Axis, y: Axis, height: f64) -> Self {
        Plot {
            x,
            y,
            height,
            body: String::new(),
        }
    }

    fn px(&self, x: f64) -> f64 {
        LEFT + self.x.part(x) * (WIDTH - LEFT - RIGHT)
    }

    fn py(&self, y: f64) -> f64 {
        self.height - BOTTOM - self.y.part(y) * (self.height - TOP - BOTTOM)
    }

    /// A line through points; a gap where a value is not finite.
    pub(super) fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut path = String::new();
        let mut is_drawn = false;
        for &(x, y) in points {
            if !y.is_finite() {
                is_drawn = false;
                continue;
            }
            let word = if is_drawn { 'L' } else { 'M' };
            let _ = write!(path, "{word}{:.1} {:.1}", self.px(x), self.py(y));
            is_drawn = true;
        }
        let _ = writeln!(self.body, "<path class=\"line {class}\" d=\"{path}\"/>");
    }

    /// A mark at a point, with a text for those who point at it.
    pub(super) fn dot(&mut self, class: &str, (x, y): (f64, f64), title: &str) {
        let _ = writeln!(
            self.body,
            "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}</title></circle>",
            self.px(x),
            self.py(y),
            escape(title)
        );
    }

    /// From one value to another at a place.
    pub(super) fn whisker(&mut self, x: f64, from: f64, to: f64) {
        let (x, from, to) = (self.px(x), self.py(from), self.py(to));
        let _ = writeln!(
            self.body,
            "<path class=\"whisker\" d=\"M{x:.1} {from:.1}V{to:.1}M{:.1} {from:.1}h6M{:.1} {to:.1}h6\"/>",
            x - 3.0,
            x - 3.0
        );
    }

    /// A rectangle of values.
    pub(super) fn bar(&mut self, class: &str, x: (f64, f64), y: (f64, f64), title: &str) {
        let (x0, x1) = (self.px(x.0), self.px(x.1));
        let (y0, y1) = (self.py(y.0), self.py(y.1));
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
            x0.min(x1),
            y0.min(y1),
            (x1 - x0).abs(),
            (y1 - y0).abs(),
            escape(title)
        );
    }

    /// A stretch of the x axis over the whole height.
    pub(super) fn band(&mut self, class: &str, x: (f64, f64), title: &str) {
        let y = (self.y.from, self.y.to);
        self.bar(&format!("band {class}"), x, y, title);
    }

    /// A mark on the x axis over the whole height.
    pub(super) fn tick(&mut self, class: &str, x: f64, title: &str) {
        let _ = writeln!(
            self.body,
            "<path class=\"tick {class}\" d=\"M{:.1} {TOP}V{:.1}\"><title>{}</title></path>",
            self.px(x),
            self.height - BOTTOM,
            escape(title)
        );
    }

    /// Cells of a grid; one path per level.
    pub(super) fn cells(&mut self, cells: &[Shaded]) {
        for level in 0..LEVELS {
            let mut path = String::new();
            for (_, x, y) in cells.iter().filter(|(l, ..)| *l == level) {
                let (x0, x1) = (self.px(x.0), self.px(x.1));
                let (y0, y1) = (self.py(y.0), self.py(y.1));
                let _ = write!(
                    path,
                    "M{x0:.1} {y1:.1}h{:.1}v{:.1}h{:.1}z",
                    x1 - x0,
                    y0 - y1,
                    x0 - x1
                );
            }
            if !path.is_empty() {
                let _ = writeln!(self.body, "<path class=\"q{level}\" d=\"{path}\"/>");
            }
        }
    }

    /// Rows of a grid, from the top, each over the whole height divided by their number: its cells, the value that a reader
    /// may sort rows by, and a text for those who point at it.
    pub(super) fn rows(&mut self, rows: &[(Vec<Shaded>, f64, String)]) {
        let height = (self.height - TOP - BOTTOM) / rows.len().max(1) as f64;
        let _ = writeln!(self.body, "<g class=\"rows\" data-height=\"{height:.3}\">");
        for (cells, value, title) in rows {
            let _ = writeln!(
                self.body,
                "<g data-value=\"{value}\"><title>{}</title>",
                escape(title)
            );
            self.cells(cells);
            self.body += "</g>\n";
        }
        self.body += "</g>\n";
    }

    /// The drawing. `name` is what it shows, for those who do not see it.
    pub(super) fn svg(&self, name: &str) -> String {
        let bottom = self.height - BOTTOM;
        let right = WIDTH - RIGHT;
        let mut axes = String::new();
        for (at, text) in &self.x.ticks {
            let x = self.px(*at);
            let _ = writeln!(
                axes,
                "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/><text class=\"mid\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
                bottom + 14.0,
                escape(text)
            );
        }
        for (at, text) in &self.y.ticks {
            let y = self.py(*at);
            let _ = writeln!(
                axes,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/><text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                escape(text)
            );
        }
        let middle = (TOP + bottom) / 2.0;
        format!(
            "<div class=\"wide\"><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{name}\">\n{axes}{body}\
             <path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\n\
             <text class=\"mid title\" x=\"{x:.1}\" y=\"{below:.1}\">{xt}</text>\n\
             <text class=\"mid title\" x=\"14\" y=\"{middle:.1}\" transform=\"rotate(-90 14 {middle:.1})\">{yt}</text>\n</svg></div>\n",
            height = self.height,
            name = escape(name),
            body = self.body,
            x = (LEFT + right) / 2.0,
            below = self.height - 6.0,
            xt = escape(&self.x.title),
            yt = escape(&self.y.title),
        )
    }
}

/// Shades of a heat map.
pub(super) const LEVELS: usize = 9;

/// Names of the classes in a drawing; `line c0` stands for a line, `c0` for an area.
pub(super) fn legend(items: &[(String, String)]) -> String {
    let mut out = String::from("<p class=\"legend\">");
    for (class, name) in items {
        let line = format!("<path class=\"{class}\" d=\"M0 6H30\"/>");
        let area = format!("<rect class=\"{class}\" width=\"12\" height=\"12\"/>");
        let (width, more, shape) = match class.starts_with("line ") {
            true => (30, " long", line),
            false => (12, "", area),
        };
        let _ = write!(
            out,
            "<span><svg viewBox=\"0 0 {width} 12\" class=\"key{more}\" aria-hidden=\"true\">{shape}</svg> {}</span> ",
            escape(name)
        );
    }
    out + "</p>\n"
}

/// What the shades of a heat map stand for.
pub(super) fn shades(from: &str, to: &str) -> String {
    let mut out = format!("<p class=\"legend\"><span>{} ", escape(from));
    for level in 0..LEVELS {
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 12 12\" class=\"key\" aria-hidden=\"true\"><rect class=\"q{level}\" width=\"12\" height=\"12\"/></svg>"
        );
    }
    out + &format!(" {}</span></p>\n", escape(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let ticks = |axis: Axis| axis.ticks.into_iter().map(|(x, _)| x).collect::<Vec<_>>();
        let word = |x: f64| format!("{x}");
        for (axis, expected) in [
            (Axis::percent(""), vec![0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
            (Axis::linear(0.0, 0.7, "", word), vec![0.0, 0.2, 0.4, 0.6]),
            (
                Axis::log(30.0, 4000.0, "", word),
                vec![10.0, 100.0, 1000.0, 10000.0],
            ),
            (Axis::log(10.0, 10.0, "", word), vec![10.0, 100.0]),
        ] {
            assert_eq!(ticks(axis), expected);
        }
        for n in 1..100 {
            let at = ticks(Axis::counts(0.5, f64::from(n) + 0.5, ""));
            assert!(
                !at.is_empty() && at.iter().all(|x| x.fract() == 0.0),
                "{n}: {at:?}"
            );
        }
        // A run in which nothing happened has axes, too.
        assert!(!ticks(Axis::linear(0.0, 0.0, "", word)).is_empty());
    }

    #[test]
    fn a_value_lies_where_its_axis_says() {
        let word = |x: f64| format!("{x}");
        let mut plot = Plot::new(
            Axis::linear(0.0, 10.0, "x", word),
            Axis::log(1.0, 100.0, "y <", word),
            200.0,
        );
        plot.line(
            "c0",
            &[(0.0, 1.0), (5.0, 10.0), (6.0, f64::NAN), (10.0, 100.0)],
        );
        let svg = plot.svg("name");
        assert!(
            svg.contains("d=\"M76.0 160.0L387.0 85.0M698.0 10.0\""),
            "{svg}"
        );
        assert!(svg.contains("y &lt;"), "{svg}");
    }
}
