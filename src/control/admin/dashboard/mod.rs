//! The dashboard: a page, its style and its script, part of the binary. It asks for nothing that
//! this address does not serve, and says so in its policy.

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use super::answer::{Body, typed};

/// What the page may do: nothing but this, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A part of the dashboard.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Page,
    Style,
    Script,
}

/// The part, as a browser gets it.
pub(super) fn part(part: Part) -> Response<Body> {
    let (media, text) = match part {
        Part::Page => ("text/html; charset=utf-8", include_str!("index.html")),
        Part::Style => ("text/css; charset=utf-8", include_str!("style.css")),
        Part::Script => ("text/javascript; charset=utf-8", include_str!("script.js")),
    };
    let mut response = typed(StatusCode::OK, media, text.to_owned());
    let fields: [(HeaderName, &str); 4] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another version of the process serves another page.
        (CACHE_CONTROL, "no-cache"),
    ];
    for (name, value) in fields {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    const PARTS: [&str; 3] = [
        include_str!("index.html"),
        include_str!("style.css"),
        include_str!("script.js"),
    ];

    #[test]
    fn it_asks_for_nothing_from_outside() {
        for part in PARTS {
            let without_names = part.replace("http://www.w3.org/2000/svg", "");
            for outside in ["http://", "https://", "@import", "url("] {
                assert!(!without_names.contains(outside), "{outside}");
            }
        }
    }

    #[test]
    fn what_it_shows_is_text_and_never_markup() {
        for danger in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!PARTS[2].contains(danger), "{danger}");
        }
    }

    #[test]
    fn the_policy_has_nothing_to_forgive() {
        for inline in [
            "style=",
            "<style",
            "onclick=",
            "onload=",
            "onerror=",
            "javascript:",
        ] {
            assert!(!PARTS[0].contains(inline), "{inline}");
        }
        assert_eq!(PARTS[0].matches("<script").count(), 1);
    }
}
