//! How to read a report: `docs/reading-the-report.md`, folded away at the end of the page.

use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

const GUIDE: &str = include_str!("../../../../../docs/reading-the-report.md");

pub fn guide() -> Markup {
    html! {
        section #guide {
            h2 { "How to read this page" }
            details {
                summary { "What the numbers are, how far to trust them, what to distrust" }
                div.guide { (PreEscaped(rendered(GUIDE))) }
            }
        }
    }
}

/// The text as HTML for the inside of a page: without its title, its headings one level lower, its tables in a frame
/// that scrolls, and without links that lead out of the page, which would lead nowhere.
fn rendered(markdown: &str) -> String {
    let mut in_title = false;
    let mut leads_out = false;
    let events = Parser::new_ext(markdown, Options::ENABLE_TABLES).flat_map(|event| match event {
        Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }) => {
            in_title = true;
            vec![]
        }
        Event::End(TagEnd::Heading(HeadingLevel::H1)) => {
            in_title = false;
            vec![]
        }
        _ if in_title => vec![],
        Event::Start(Tag::Heading { level, id, classes, attrs }) => {
            vec![Event::Start(Tag::Heading { level: lower(level), id, classes, attrs })]
        }
        Event::End(TagEnd::Heading(level)) => vec![Event::End(TagEnd::Heading(lower(level)))],
        table @ Event::Start(Tag::Table(_)) => vec![Event::Html(r#"<div class="scroll">"#.into()), table],
        end @ Event::End(TagEnd::Table) => vec![end, Event::Html("</div>".into())],
        Event::Start(Tag::Link { dest_url, .. }) if !dest_url.starts_with('#') => {
            leads_out = true;
            vec![]
        }
        Event::End(TagEnd::Link) if leads_out => {
            leads_out = false;
            vec![]
        }
        other => vec![other],
    });
    let mut page = String::new();
    pulldown_cmark::html::push_html(&mut page, events);
    page
}

fn lower(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H2,
        HeadingLevel::H2 => HeadingLevel::H3,
        HeadingLevel::H3 => HeadingLevel::H4,
        HeadingLevel::H4 => HeadingLevel::H5,
        HeadingLevel::H5 | HeadingLevel::H6 => HeadingLevel::H6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_within_the_page_stay() {
        let page = rendered("# Title\n\n## Part\n\nSee [this](#part), [that](other.md) and [there](https://a.b).\n");
        assert_eq!(page, "<h3>Part</h3>\n<p>See <a href=\"#part\">this</a>, that and there.</p>\n");
    }

    #[test]
    fn tables_scroll() {
        let page = rendered("| a | b |\n|---|---|\n| 1 | 2 |\n");
        assert!(
            page.starts_with(r#"<div class="scroll"><table>"#) && page.trim_end().ends_with("</table>\n</div>"),
            "{page}"
        );
    }
}
