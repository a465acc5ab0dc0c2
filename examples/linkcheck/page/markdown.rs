//! Reading Markdown, as GitHub understands it.

use std::collections::HashMap;

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};

use super::{Scribe, html};

/// Reads a page.
pub(super) fn read(text: &str, scribe: &mut Scribe<'_>) {
    let extensions = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut headings = Headings::default();
    for (event, place) in Parser::new_ext(text, extensions).into_offset_iter() {
        headings.read(&event, scribe);
        match event {
            Event::Start(
                Tag::Link {
                    link_type,
                    dest_url,
                    ..
                }
                | Tag::Image {
                    link_type,
                    dest_url,
                    ..
                },
            ) if !matches!(link_type, LinkType::Email) => scribe.link(place.start, &dest_url),
            // The event of a block has all of its text, where tags may stretch over lines.
            Event::Start(Tag::HtmlBlock) | Event::InlineHtml(_) => {
                html::read(&text[place.clone()], place.start, scribe);
            }
            _ => {}
        }
    }
}

/// The anchors that headings get.
#[derive(Default)]
struct Headings {
    /// The text of the heading that is being read.
    open: Option<String>,
    /// How often each anchor was wanted so far.
    wanted: HashMap<String, usize>,
}

impl Headings {
    fn read(&mut self, event: &Event<'_>, scribe: &mut Scribe<'_>) {
        match (event, &mut self.open) {
            (Event::Start(Tag::Heading { .. }), open) => *open = Some(String::new()),
            (Event::Text(text) | Event::Code(text), Some(open)) => open.push_str(text),
            (Event::SoftBreak | Event::HardBreak, Some(open)) => open.push(' '),
            (Event::End(TagEnd::Heading(_)), open) => {
                let anchor = slug(&open.take().unwrap_or_default());
                scribe.anchor(&self.distinct(anchor));
            }
            _ => {}
        }
    }

    /// Numbers the anchors that would be the same: `example`, `example-1`, `example-2`.
    fn distinct(&mut self, anchor: String) -> String {
        let mut distinct = anchor.clone();
        while self.wanted.contains_key(&distinct) {
            let times = self.wanted.entry(anchor.clone()).or_default();
            *times += 1;
            distinct = format!("{anchor}-{times}");
        }
        self.wanted.insert(distinct.clone(), 0);
        distinct
    }
}

/// Makes an anchor of a heading: lower case, hyphens for spaces, no punctuation.
fn slug(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        // Accents of their own, and what makes an emoji of a character.
        '\u{300}'..='\u{36f}' | '\u{fe0f}' => Some(c),
        c => c.is_alphanumeric().then_some(c),
    };
    heading.to_lowercase().chars().filter_map(kept).collect()
}
