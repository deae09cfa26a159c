//! The report as one page that needs nothing else: figures, plots, and what they mean.

use super::figures::Report;

/// Where the page takes the figures from.
const PAGE: &str = include_str!("page.html");

impl Report {
    /// The page.
    ///
    /// # Errors
    /// When a figure can't be written as JSON.
    pub fn html(&self) -> Result<String, serde_json::Error> {
        // Inside a script element only `<` could end it early.
        let json = serde_json::to_string(self)?.replace('<', "\\u003c");
        Ok(PAGE.replacen("REPORT", &json, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_says_cannot_leave_the_figures() {
        let url = "ws://a/</script><script>alert(1)</script>";
        let page = Report::of_nothing(url).html().unwrap();
        assert!(!page.contains("</script><script>alert"));
        let json = page
            .split("id=\"report\">")
            .nth(1)
            .unwrap()
            .split("</script>")
            .next()
            .unwrap();
        let read: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(read["targets"][0]["url"], url);
    }

    #[test]
    fn the_page_needs_nothing_from_outside() {
        let page = Report::of_nothing("ws://a/").html().unwrap();
        assert!(!page.contains("src=") && !page.contains("<link") && !page.contains("@import"));
    }
}
