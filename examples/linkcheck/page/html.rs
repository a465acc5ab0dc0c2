//! Reading HTML.

use std::{convert::Infallible, mem};

use html5gum::{
    Span, Tokenizer,
    emitters::callback::{CallbackEmitter, CallbackEvent},
};

use super::Scribe;

/// Reads HTML that begins at `offset` of the page: all of it, or a piece within Markdown.
pub(super) fn read(html: &str, offset: usize, scribe: &mut Scribe<'_>) {
    let mut tag = Tag::default();
    let mut attribute = None;
    let mut in_noscript = false;
    let handle = |event: CallbackEvent<'_>, span: Span<usize>| -> Option<Infallible> {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                tag = Tag::default();
                tag.name = text(name);
                attribute = None;
            }
            CallbackEvent::AttributeName { name } => attribute = Attribute::of(name),
            CallbackEvent::AttributeValue { value } => {
                if let Some(attribute) = attribute.take() {
                    // Of two with the same name the first one counts.
                    tag.attributes[attribute as usize]
                        .get_or_insert_with(|| (offset + span.start, text(value)));
                }
            }
            CallbackEvent::CloseStartTag { .. } => {
                in_noscript = tag.name == "noscript";
                mem::take(&mut tag).note(scribe);
            }
            CallbackEvent::EndTag { .. } => in_noscript = false,
            // To the parser that is plain text, as it is to a browser that runs scripts.
            CallbackEvent::String { value } if in_noscript => {
                read(&text(value), offset + span.start, scribe);
            }
            _ => {}
        }
        None
    };
    let mut emitter = CallbackEmitter::new(handle);
    // So that what scripts and styles say is not taken for tags.
    emitter.naively_switch_states(true);
    let Ok(()) = Tokenizer::new_with_emitter(html, emitter).finish();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The attributes that matter here.
#[derive(Clone, Copy)]
enum Attribute {
    Id,
    Name,
    Href,
    Src,
    Rel,
    HttpEquiv,
    Content,
}

impl Attribute {
    fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"id" => Self::Id,
            b"name" => Self::Name,
            b"href" => Self::Href,
            b"src" => Self::Src,
            b"rel" => Self::Rel,
            b"http-equiv" => Self::HttpEquiv,
            b"content" => Self::Content,
            _ => return None,
        })
    }
}

/// A start tag, in the making.
#[derive(Default)]
struct Tag {
    name: String,
    /// Where each [`Attribute`] is written, and its value.
    attributes: [Option<(usize, String)>; 7],
}

impl Tag {
    fn note(&self, scribe: &mut Scribe<'_>) {
        if let Some(id) = self.value(Attribute::Id) {
            scribe.anchor(id);
        }
        match &*self.name {
            "a" => {
                if let Some(name) = self.value(Attribute::Name) {
                    scribe.anchor(name);
                }
                self.link(Attribute::Href, scribe);
            }
            "area" => self.link(Attribute::Href, scribe),
            "link" if !self.is_hint() => self.link(Attribute::Href, scribe),
            "base" => {
                if let Some(base) = self.value(Attribute::Href) {
                    scribe.base(base.trim());
                }
            }
            "meta" => self.refresh(scribe),
            "audio" | "embed" | "iframe" | "img" | "input" | "script" | "source" | "track"
            | "video" => self.link(Attribute::Src, scribe),
            _ => {}
        }
    }

    /// Whether a `<link>` names a server and no document on it.
    fn is_hint(&self) -> bool {
        let rel = self.value(Attribute::Rel).unwrap_or_default();
        rel.split_ascii_whitespace().any(|word| {
            word.eq_ignore_ascii_case("preconnect") || word.eq_ignore_ascii_case("dns-prefetch")
        })
    }

    /// Notes where a `<meta http-equiv="refresh" content="0; url=there">` leads.
    fn refresh(&self, scribe: &mut Scribe<'_>) {
        let kind = self.value(Attribute::HttpEquiv).unwrap_or_default();
        let content = &self.attributes[Attribute::Content as usize];
        if let (true, Some((offset, content))) = (kind.eq_ignore_ascii_case("refresh"), content) {
            if let Some((_, assignment)) = content.split_once([';', ',']) {
                let (name, target) = assignment.split_once('=').unwrap_or_default();
                if name.trim().eq_ignore_ascii_case("url") {
                    let quotes = ['"', '\''];
                    scribe.forward(*offset, target.trim().trim_matches(quotes));
                }
            }
        }
    }

    fn link(&self, attribute: Attribute, scribe: &mut Scribe<'_>) {
        if let Some((offset, target)) = &self.attributes[attribute as usize] {
            scribe.link(*offset, target.trim());
        }
    }

    fn value(&self, attribute: Attribute) -> Option<&str> {
        let (_, value) = self.attributes[attribute as usize].as_ref()?;
        Some(value)
    }
}
