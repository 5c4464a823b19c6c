//! Line plots with two logarithmic axes, as SVG.

use std::fmt::Write;

/// One line of a plot.
pub struct Series {
    pub name: String,
    /// x and y, all above 0.
    pub points: Vec<(f64, f64)>,
    /// Drawn without marks and dashed: a bound, not a contender.
    pub bound: bool,
}

/// A plot.
pub struct Plot {
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    pub series: Vec<Series>,
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 480.0;
/// Where the axes are: left, top, right, bottom.
const AREA: (f64, f64, f64, f64) = (86.0, 48.0, 650.0, 418.0);

/// Told apart with defective colour vision, too: Okabe and Ito's, the darkest first.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c6d1f"];

/// A logarithmic axis from `low` to `high`, drawn from `from` to `to`.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, 0f64);
        values.for_each(|value| (low, high) = (low.min(value), high.max(value)));
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        if low == high {
            (low, high) = (low / 2.0, high * 2.0);
        }
        Axis { low, high, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + share * (self.to - self.from)
    }

    /// 1, 2 and 5 of every power of ten, or only the powers if there are many.
    fn ticks(&self) -> Vec<f64> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let steps: &[f64] = if last - first > 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = (first..=last).flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)));
        all.filter(|tick| *tick >= self.low * 0.999 && *tick <= self.high * 1.001).collect()
    }
}

/// 1500000 → 1.5 M
fn short(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e6 => (v / 1e6, " M"),
        v if v >= 1e3 => (v / 1e3, " k"),
        v => (v, ""),
    };
    format!("{}{unit}", (value * 1e3).round() / 1e3)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Plot {
    /// The whole file; with marks at every x that a series has, if they are few.
    pub fn svg(&self) -> String {
        let (left, top, right, bottom) = AREA;
        let points = || self.series.iter().flat_map(|series| series.points.iter().copied());
        let mut x_axis = Axis::over(points().map(|(x, _)| x), left + 20.0, right - 20.0);
        let mut y_axis = Axis::over(points().map(|(_, y)| y), bottom, top);
        // Room above and below; x has it already.
        (y_axis.low, y_axis.high) = (y_axis.low / 1.25, y_axis.high * 1.25);
        x_axis.high = x_axis.high.max(x_axis.low * 1.01);
        let mut x_ticks: Vec<f64> = points().map(|(x, _)| x).collect();
        x_ticks.sort_by(f64::total_cmp);
        x_ticks.dedup();
        if x_ticks.len() > 10 {
            x_ticks = x_axis.ticks();
        }

        let mut out = String::new();
        let mut put = |text: std::fmt::Arguments<'_>| {
            out.write_fmt(text).expect("a String takes everything");
            out.push('\n');
        };
        put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">"
        ));
        put(format_args!("<title>{}</title>", escaped(&self.title)));
        put(format_args!("<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>"));
        put(format_args!("<text x=\"{left}\" y=\"26\" font-size=\"16\">{}</text>", escaped(&self.title)));
        for tick in y_axis.ticks() {
            let y = y_axis.at(tick);
            put(format_args!("<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>"));
            put(format_args!(
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                y + 4.0,
                short(tick)
            ));
        }
        for tick in &x_ticks {
            let x = x_axis.at(*tick);
            put(format_args!("<path d=\"M{x:.1} {bottom}v-{}\" stroke=\"#eee\"/>", bottom - top));
            put(format_args!("<path d=\"M{x:.1} {bottom}v5\" stroke=\"#222\"/>"));
            let y = bottom + 20.0;
            put(format_args!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>", short(*tick)));
        }
        put(format_args!("<path d=\"M{left} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"#222\"/>"));
        let middle = (left + right) / 2.0;
        let x_label = escaped(&self.x_label);
        put(format_args!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{x_label}</text>", bottom + 44.0));
        let (x, y) = (22.0, (top + bottom) / 2.0);
        let y_label = escaped(&self.y_label);
        put(format_args!(
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" transform=\"rotate(-90 {x} {y})\">{y_label}</text>"
        ));

        let mut colours = COLOURS.iter().cycle();
        for (number, series) in self.series.iter().enumerate() {
            let colour = if series.bound { "#000" } else { colours.next().expect("they are cycled") };
            let style = if series.bound { "1.5\" stroke-dasharray=\"6 4" } else { "2" };
            let places: Vec<_> = series.points.iter().map(|(x, y)| (x_axis.at(*x), y_axis.at(*y))).collect();
            let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            put(format_args!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{style}\"/>",
                line.join(" ")
            ));
            let (x, y) = (right + 24.0, top + 12.0 + 24.0 * number as f64);
            put(format_args!("<path d=\"M{x} {y}h28\" stroke=\"{colour}\" stroke-width=\"{style}\"/>"));
            if !series.bound {
                for (x, y) in places.into_iter().chain([(x + 14.0, y)]) {
                    put(format_args!("{}", mark(number, x, y, colour)));
                }
            }
            put(format_args!("<text x=\"{}\" y=\"{}\">{}</text>", x + 36.0, y + 4.0, escaped(&series.name)));
        }
        out.push_str("</svg>\n");
        out
    }
}

/// Another shape for every series, for those who cannot tell the colours apart.
fn mark(number: usize, x: f64, y: f64, colour: &str) -> String {
    match number % 4 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>"),
        1 => format!("<rect x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\" fill=\"{colour}\"/>", x - 3.5, y - 3.5),
        2 => format!("<path d=\"M{:.1} {:.1}l4.5 8h-9z\" fill=\"{colour}\"/>", x, y - 5.0),
        _ => format!("<path d=\"M{:.1} {:.1}l5 5l-5 5l-5-5z\" fill=\"{colour}\"/>", x, y - 5.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_its_labels_and_no_number_that_is_none() {
        let series =
            |name: &str, points: &[(f64, f64)], bound| Series { name: name.into(), points: points.into(), bound };
        let plot = Plot {
            title: "a < b".into(),
            x_label: "threads".into(),
            y_label: "records/s".into(),
            series: vec![
                series("L", &[(1.0, 10e3), (64.0, 10e3)], true),
                series("twal", &[(1.0, 9e3), (64.0, 300e3)], false),
                series("nothing", &[], false),
            ],
        };
        let svg = plot.svg();
        for part in ["a &lt; b", "threads", "records/s", ">twal<", ">64<", ">100 k<"] {
            assert!(svg.contains(part), "{part}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        let empty = Plot { title: String::new(), x_label: String::new(), y_label: String::new(), series: Vec::new() };
        assert!(!empty.svg().contains("NaN"));
    }
}
