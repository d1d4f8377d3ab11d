//! The page around the content: plain HTML and CSS, light and dark, without external resources.

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1d2430;--dim:#6b7280;--line:#d9dee5;--ground:#fff;--panel:#f6f8fa}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--dim:#98a2b3;--line:#333b47;--ground:#14181e;--panel:#1c222a}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground);max-width:1080px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid var(--line);padding-bottom:.3rem}h3{font-size:1rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:left}
.matrix td,.matrix th{text-align:center;border:1px solid var(--line)}.scroll{overflow-x:auto}.map td{min-width:1.2rem;padding:.2rem}.map th{padding:.2rem .4rem;font-weight:400}.turned{writing-mode:vertical-rl;transform:rotate(180deg);border:0}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:1.2rem}.dim{color:var(--dim)}
svg{width:100%;height:auto;background:#fff;border:1px solid var(--line);border-radius:6px}
pre{background:var(--panel);padding:1rem;overflow-x:auto;border-radius:6px;font-size:13px}
.card{background:var(--panel);border-radius:6px;padding:.8rem}.card img{width:100%;max-height:220px;object-fit:contain;image-rendering:auto}
.seen{display:grid;grid-template-columns:repeat(auto-fill,minmax(72px,1fr));gap:.4rem;margin-top:.5rem}.seen figure{margin:0;text-align:center;font-size:12px}
.seen figure div{display:grid;background:var(--seen) center/100% 100%}.seen i{background:#000}
";

/// An HTML page under construction.
pub(super) struct Page(String);

impl Page {
    pub fn new(title: &str) -> Self {
        let head =
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>";
        Self(format!("{head}<title>{}</title><style>{STYLE}</style><body>", escape(title)))
    }

    pub fn heading(&mut self, text: &str) {
        self.0.push_str(&format!("<h1>{}</h1>", escape(text)));
    }

    pub fn paragraph(&mut self, text: &str) {
        self.0.push_str(&format!("<p>{}</p>", escape(text)));
    }

    /// Adds a section with content that is already HTML.
    pub fn section(&mut self, title: &str, content: &str) {
        self.0.push_str(&format!("<h2>{}</h2>{content}", escape(title)));
    }

    pub fn finish(self) -> String {
        self.0 + "</body></html>"
    }
}

/// Escapes text for HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Formats a number with four significant digits.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || (1e-3..1e5).contains(&size) => {
            let digits = (3 - size.max(1e-3).log10().floor() as i32).clamp(0, 6) as usize;
            format!("{value:.digits$}")
        }
        _ => format!("{value:.3e}"),
    }
}

/// Renders a table of cells that are already HTML.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = head.iter().map(|cell| format!("<th>{cell}</th>")).collect();
    format!(
        "<div class=scroll><table><tr>{head}</tr>{}</table></div>",
        rows.iter()
            .map(|row| format!("<tr>{}</tr>", row.iter().map(|cell| format!("<td>{cell}</td>")).collect::<String>()))
            .collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits_and_text_is_escaped() {
        assert_eq!([0.98765, 12.3456, 1234.5, 0.0, 4.2e-7].map(number), ["0.9877", "12.35", "1234", "0.000000", "4.200e-7"]);
        assert_eq!(escape("<img src='x' onerror=\"a&b\">"), "&lt;img src=&#39;x&#39; onerror=&quot;a&amp;b&quot;&gt;");
    }
}
