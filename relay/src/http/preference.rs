//! Lists of wishes with weights, as `Accept` and `Accept-Encoding` hold them (RFC 9110, 12.4.2 and 12.5).

use axum::http::{HeaderMap, HeaderName};

/// One wish of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    /// What is wished for, in small letters.
    pub name: String,
    /// How much, in thousandths; 0 says no.
    pub weight: u16,
}

/// The wishes in all headers of a name, in their order.
pub fn wishes(headers: &HeaderMap, name: &HeaderName) -> Vec<Wish> {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).filter_map(read).collect()
}

fn read(text: &str) -> Option<Wish> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
    let weight = parts.find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case("q").then(|| weight(value.trim()))
    });
    Some(Wish { name, weight: weight.unwrap_or(1_000) })
}

/// A weight in thousandths; one that cannot be read asks for nothing.
fn weight(text: &str) -> u16 {
    let weight = text.parse::<f64>().ok().filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0);
    // The least that is more than nothing stays so.
    (weight * 1_000.0).ceil() as u16
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use axum::http::header::ACCEPT;

    use super::*;

    #[test]
    fn wishes_are_read_with_their_weights_whatever_their_letters() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, "Application/JSON;q=0.25, a/b; Charset=x ;Q = 1.0,,c/d".parse().unwrap());
        headers.append(ACCEPT, "e;q=0, f;q=2, g;q=x, h;q=0.0004".parse().unwrap());
        let read: Vec<(String, u16)> =
            wishes(&headers, &ACCEPT).into_iter().map(|wish| (wish.name, wish.weight)).collect();
        let expected =
            [("application/json", 250), ("a/b", 1_000), ("c/d", 1_000), ("e", 0), ("f", 0), ("g", 0), ("h", 1)];
        assert_eq!(read, expected.map(|(name, weight)| (name.to_owned(), weight)));
    }
}
