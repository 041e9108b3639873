//! Line charts as SVG, made of text: no script, nothing loaded.
//!
//! Invariant: whatever the values, the drawing stays inside its frame and is well-formed.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 30.0;
const TOP: f64 = 12.0;
const RIGHT: f64 = 12.0;

/// One line of a chart.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the legend calls it.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// How an axis counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// From zero, evenly.
    Linear,
    /// In powers of ten.
    Log,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// What it shows.
    pub title: &'a str,
    /// Its lines.
    pub lines: Vec<Line>,
    /// How the vertical axis counts.
    pub scale: Scale,
    /// How a vertical value is written.
    pub value: fn(f64) -> String,
    /// How a horizontal value is written.
    pub place: fn(f64) -> String,
}

/// Colours that colour-blind people can tell apart (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

impl Chart<'_> {
    /// Draws the chart.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut out = format!(
            "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             role=\"img\" aria-label=\"{}\">",
            escape(self.title),
            escape(self.title)
        );
        let points = || self.lines.iter().flat_map(|line| &line.points).filter(|p| self.usable(p));
        let Some(&first) = points().next() else {
            out.push_str("<text x=\"80\" y=\"110\">nothing to show</text></svg></figure>");
            return out;
        };
        let start = (first.0, first.0, first.1, first.1);
        let (x0, x1, y0, y1) = points()
            .fold(start, |all, p| (all.0.min(p.0), all.1.max(p.0), all.2.min(p.1), all.3.max(p.1)));
        let (y0, y1) = match self.scale {
            Scale::Linear => (0.0, if y1 > 0.0 { y1 * 1.05 } else { 1.0 }),
            Scale::Log => (y0.log10().floor(), y1.log10().ceil().max(y0.log10().floor() + 1.0)),
        };
        let x = |value: f64| {
            let span = (x1 - x0).max(f64::MIN_POSITIVE);
            LEFT + (value - x0) / span * (WIDTH - LEFT - RIGHT)
        };
        let y = |value: f64| {
            let value = if self.scale == Scale::Log { value.log10() } else { value };
            HEIGHT - BOTTOM - (value - y0) / (y1 - y0) * (HEIGHT - BOTTOM - TOP)
        };
        for value in self.ticks(y0, y1) {
            let at = y(value);
            let _ = write!(
                out,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" class=\"grid\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                escape(&(self.value)(value))
            );
        }
        for part in 0..=4 {
            let value = x0 + (x1 - x0) * f64::from(part) / 4.0;
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                x(value),
                HEIGHT - 10.0,
                escape(&(self.place)(value))
            );
        }
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let mut path = String::new();
            for point in line.points.iter().filter(|p| self.usable(p)) {
                let _ = write!(path, "{:.1},{:.1} ", x(point.0), y(point.1));
            }
            let _ = write!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
                path.trim_end()
            );
        }
        out.push_str("</svg><p class=\"legend\">");
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let _ = write!(out, "<span style=\"color:{colour}\">■</span> {} ", escape(&line.name));
        }
        out.push_str("</p></figure>");
        out
    }

    fn usable(&self, (x, y): &(f64, f64)) -> bool {
        x.is_finite() && y.is_finite() && (self.scale == Scale::Linear || *y > 0.0)
    }

    fn ticks(&self, y0: f64, y1: f64) -> Vec<f64> {
        match self.scale {
            Scale::Linear => (0..=4).map(|n| y1 / 1.05 * f64::from(n) / 4.0).collect(),
            Scale::Log => {
                let (first, last) = (y0 as i32, y1 as i32);
                (first..=last).map(|power| 10f64.powi(power)).collect()
            }
        }
    }
}

/// Makes text harmless inside HTML.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>, scale: Scale) -> String {
        let line = Line { name: "a <b>".to_owned(), points };
        let text = |value: f64| format!("{value:.1}");
        Chart { title: "t", lines: vec![line], scale, value: text, place: text }.svg()
    }

    #[test]
    fn whatever_the_values_the_drawing_stays_inside() {
        let wild = vec![(0.0, 0.0), (1.0, 1e12), (2.0, f64::NAN), (3.0, 5.0), (4.0, 1e-9)];
        for scale in [Scale::Linear, Scale::Log] {
            for points in [wild.clone(), vec![], vec![(1.0, 1.0)], vec![(0.0, 0.0)]] {
                let svg = chart(points, scale);
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                let drawn = svg.split("points=\"").nth(1).and_then(|rest| rest.split('"').next());
                for pair in drawn.unwrap_or_default().split_whitespace() {
                    let (x, y) = pair.split_once(',').expect("a pair");
                    let (x, y): (f64, f64) = (x.parse().expect("x"), y.parse().expect("y"));
                    assert!((0.0..=WIDTH).contains(&x) && (0.0..=HEIGHT).contains(&y), "{pair}");
                }
            }
        }
    }

    #[test]
    fn names_cannot_become_markup() {
        let svg = chart(vec![(0.0, 1.0), (1.0, 2.0)], Scale::Linear);
        assert!(svg.contains("a &lt;b&gt;") && !svg.contains("a <b>"));
    }
}
