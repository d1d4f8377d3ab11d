//! Line charts and scatter plots as SVG.

use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::{
    ChartBuilder, Circle, Color, IntoDrawingArea, IntoFont, LineSeries, Palette, Palette99, PathElement, RGBColor, SVGBackend,
    SeriesLabelPosition, ShapeStyle, WHITE,
};

use crate::error::Error;

/// A chart.
#[derive(Debug, Clone, Default)]
pub(super) struct Chart {
    pub title: String,
    pub x: &'static str,
    pub y: &'static str,
    pub series: Vec<Series>,
    /// The range of the data if `None`.
    pub x_range: Option<(f64, f64)>,
    /// The range of the data if `None`.
    pub y_range: Option<(f64, f64)>,
}

/// A series of points, drawn as a line or as circles.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    pub is_line: bool,
}

impl Series {
    pub fn line(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points, is_line: true }
    }

    pub fn points(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points, is_line: false }
    }
}

const SIZE: (u32, u32) = (520, 360);
const GREY: RGBColor = RGBColor(120, 120, 120);

impl Chart {
    /// Renders the chart as an `<svg>` element.
    pub fn to_svg(&self) -> Result<String, Error> {
        let mut svg = String::new();
        let drawn = self.draw(&mut svg);
        drawn.map_err(|error| Error::Chart { title: self.title.clone(), source: error.into() })?;
        Ok(svg)
    }

    fn draw(&self, svg: &mut String) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let (x_low, x_high) = self.x_range.unwrap_or_else(|| range(self.values().map(|point| point.0)));
        let (y_low, y_high) = self.y_range.unwrap_or_else(|| range(self.values().map(|point| point.1)));
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 16).into_font())
            .margin(10)
            .x_label_area_size(38)
            .y_label_area_size(62)
            .build_cartesian_2d(x_low..x_high, y_low..y_high)?;
        chart
            .configure_mesh()
            .light_line_style(GREY.mix(0.08))
            .bold_line_style(GREY.mix(0.2))
            .x_desc(self.x)
            .y_desc(self.y)
            .x_labels(8)
            .y_labels(8)
            .draw()?;
        for (at, series) in self.series.iter().enumerate().filter(|(_, series)| !series.points.is_empty()) {
            let (red, green, blue) = Palette99::COLORS[at % Palette99::COLORS.len()];
            let style =
                ShapeStyle::from(RGBColor(red, green, blue).mix(if series.is_line { 0.9 } else { 0.5 })).stroke_width(2).filled();
            let drawn = if series.is_line {
                chart.draw_series(LineSeries::new(series.points.iter().copied(), style))
            } else {
                chart.draw_series(series.points.iter().map(|point| Circle::new(*point, 3, style)))
            };
            drawn?.label(&series.name).legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 14, y)], style));
        }
        if self.series.len() > 1 {
            let labels =
                chart.configure_series_labels().position(SeriesLabelPosition::LowerRight).background_style(WHITE.mix(0.7)).draw();
            labels?;
        }
        area.present()
    }

    fn values(&self) -> impl Iterator<Item = (f64, f64)> {
        self.series.iter().flat_map(|series| series.points.iter().copied())
    }
}

/// Returns the range of the finite values with a small margin; 0 to 1 if there are none.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    match high - low {
        _ if low > high => (0.0, 1.0),
        0.0 => (low - 0.5, high + 0.5),
        width => (low - 0.04 * width, high + 0.04 * width),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_render_as_svg_even_without_data() {
        let chart =
            Chart { title: "loss".into(), series: vec![Series::line("train", vec![(1.0, 2.0), (2.0, 1.0)])], ..Chart::default() };
        let svg = chart.to_svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("polyline"), "{svg}");
        assert!(Chart::default().to_svg().unwrap().starts_with("<svg"));
        assert_eq!(range([3.0, f64::NAN].into_iter()), (2.5, 3.5));
    }
}
