//! Search results as a self-contained page.

use mbm_data::Cell;
use mbm_index::{Hit, IndexValue};

use super::html::{Page, escape, number};
use super::images::thumbnail;
use crate::error::Error;
use crate::retrieve::retriever::Retriever;

impl Retriever {
    /// Renders rows that were found as a page of cards, nearest first, with images, the other columns and the cosine similarity.
    ///
    /// # Errors
    /// Fails if the database fails.
    pub fn gallery(&self, title: &str, hits: &[Hit]) -> Result<String, Error> {
        let mut page = Page::new(title);
        page.heading(title);
        page.paragraph(&format!("{} of {} rows, nearest first.", hits.len(), self.index().info()?.n_rows));
        let cards: String = hits.iter().enumerate().map(|(at, hit)| card(self, at + 1, hit)).collect();
        page.section("Results", &format!("<div class=grid>{cards}</div>"));
        Ok(page.finish())
    }
}

fn card(retriever: &Retriever, rank: usize, hit: &Hit) -> String {
    let images = retriever.images();
    let mut content = String::new();
    for (at, (column, value)) in retriever.index().spec().columns.iter().zip(&hit.values).enumerate() {
        let image = images.iter().find(|(image, _)| *image == at);
        content.push_str(&match (value, image) {
            (IndexValue::Null, _) => String::new(),
            (IndexValue::Text(path), Some((_, max_pixels))) => {
                let cell = Cell::text(path);
                thumbnail(&cell, retriever.folder(), *max_pixels, &column.name)
            }
            (IndexValue::Text(text), None) => format!("<div>{}: {}</div>", escape(&column.name), escape(text)),
            (IndexValue::Number(value), _) => format!("<div>{}: {value}</div>", escape(&column.name)),
        });
    }
    format!("<div class=card>{content}<div class=dim>{rank}, cosine {}</div></div>", number(f64::from(hit.similarity)))
}
