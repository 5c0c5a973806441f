//! The texts in a result (a program's output, in base64; its errors), found while the result's bytes go by and decoded
//! while they are sent: nobody ever holds one as a whole, however long it is and however many read it.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Letters of keys that are remembered: no key that is looked for is longer.
const LONGEST_KEY: usize = 16;

/// Where a text stands in a result, and what it comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Its first byte in the result, behind the quote.
    pub from: u64,
    /// The quote that ends it.
    pub to: u64,
    /// Its bytes without escapes.
    len: u64,
    /// How many `=` are at its end.
    padding: u64,
}

impl Text {
    /// How many bytes it comes to.
    pub fn decoded_len(&self, form: Form) -> u64 {
        match form {
            Form::Plain => self.len,
            Form::Base64 => (self.len / 4 * 3).saturating_sub(self.padding),
        }
    }
}

/// What the bytes of a text mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Themselves.
    Plain,
    /// Others, in base64.
    Base64,
}

/// The texts of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// All of it, where a result is one text.
    pub whole: Option<Text>,
    /// A program's standard output, in base64.
    pub stdout: Option<Text>,
    /// A program's standard error, as far as it is text.
    pub stderr: Option<Text>,
    /// The same in base64, where it is no text.
    pub stderr_base64: Option<Text>,
    /// How many parts of the job failed.
    pub failed_total: u64,
}

/// Looks for them in the bytes of a result, which come in pieces. Results were written by a node: they are JSON.
#[derive(Default)]
pub struct Survey {
    texts: Texts,
    /// Bytes that went by.
    at: u64,
    /// Braces and brackets that are open.
    depth: u32,
    /// The text that it is in.
    open: Option<Open>,
    /// The key before the colon, or before the value.
    key: Vec<u8>,
    is_value: bool,
}

/// A text whose end has not come yet.
#[derive(Default)]
struct Open {
    text: Text,
    escapes: Escapes,
}

impl Survey {
    /// The next bytes.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = if self.open.is_some() { self.take_text(bytes) } else { self.take_between(bytes) };
            self.at += taken as u64;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// What was found.
    pub fn texts(self) -> Texts {
        self.texts
    }

    /// One byte outside of texts. Returns how many were taken.
    fn take_between(&mut self, bytes: &[u8]) -> usize {
        let Some(byte) = bytes.first() else { return 0 };
        match byte {
            b'"' => self.open = Some(Open { text: Text { from: self.at + 1, ..Text::default() }, ..Open::default() }),
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' if self.depth == 1 => self.is_value = true,
            b',' if self.depth == 1 => {
                self.is_value = false;
                self.key.clear();
            }
            b'0'..=b'9' if self.depth == 1 && self.is_value && self.key == b"failed_total" => {
                let digit = u64::from(byte - b'0');
                self.texts.failed_total = self.texts.failed_total.saturating_mul(10).saturating_add(digit);
            }
            _ => {}
        }
        1
    }

    /// Bytes of a text, and its end if that is among them. Returns how many were taken.
    fn take_text(&mut self, bytes: &[u8]) -> usize {
        let Some(open) = &mut self.open else { return 0 };
        let is_key = self.depth == 1 && !self.is_value;
        let (text, key) = (&mut open.text, &mut self.key);
        let end = open.escapes.take(bytes, |bytes| {
            text.len += bytes.len() as u64;
            let padding = bytes.iter().rev().take_while(|byte| **byte == b'=').count();
            text.padding = padding as u64 + if padding == bytes.len() { text.padding } else { 0 };
            if is_key {
                key.extend(bytes.iter().take(LONGEST_KEY.saturating_sub(key.len())));
            }
        });
        let Some(end) = end else { return bytes.len() };
        text.to = self.at + end as u64;
        let text = *text;
        self.open = None;
        let place = match (self.depth, self.is_value, self.key.as_slice()) {
            (0, _, _) => Some(&mut self.texts.whole),
            (1, true, b"stdout") => Some(&mut self.texts.stdout),
            (1, true, b"stderr") => Some(&mut self.texts.stderr),
            (1, true, b"stderr_base64") => Some(&mut self.texts.stderr_base64),
            _ => None,
        };
        if let Some(place) = place {
            *place = Some(text);
        }
        end + 1
    }
}

/// Decodes the bytes of a text, which come in pieces.
pub struct Decoder {
    form: Form,
    escapes: Escapes,
    /// Letters of base64 that do not make a group yet.
    rest: Vec<u8>,
}

/// A text that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a text of the result is no base64")]
pub struct Broken;

impl Decoder {
    /// One for a text of this form.
    pub fn new(form: Form) -> Self {
        Self { form, escapes: Escapes::default(), rest: Vec::new() }
    }

    /// What the next bytes come to.
    ///
    /// # Errors
    /// They are no base64.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut plain = std::mem::take(&mut self.rest);
        plain.reserve(bytes.len());
        // A quote would have ended the text before.
        let _ = self.escapes.take(bytes, |bytes| plain.extend_from_slice(bytes));
        match self.form {
            Form::Plain => Ok(plain),
            Form::Base64 => {
                self.rest = plain.split_off(plain.len() - plain.len() % 4);
                STANDARD.decode(plain).map_err(|_| Broken)
            }
        }
    }
}

/// Undoes the escapes of JSON, in bytes that come in pieces. A node writes by number what controls a line or a terminal and no
/// more, so that each number is a character; one that is none becomes U+FFFD.
#[derive(Clone, Copy, Debug, Default)]
struct Escapes {
    state: Escape,
}

#[derive(Clone, Copy, Debug, Default)]
enum Escape {
    #[default]
    Outside,
    /// Behind the backslash.
    Begun,
    /// Behind `\u` and so many of its digits.
    Digits(u8, u32),
}

impl Escapes {
    /// Puts out what the bytes mean, up to the quote that ends the text; returns where that is.
    fn take(&mut self, bytes: &[u8], mut put: impl FnMut(&[u8])) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.state {
                Escape::Outside => {
                    let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
                    let (before, mark) = rest.split_at_checked(plain.unwrap_or(rest.len())).unwrap_or_default();
                    if !before.is_empty() {
                        put(before);
                    }
                    at += before.len();
                    match mark.first() {
                        Some(b'"') => return Some(at),
                        Some(_) => {
                            self.state = Escape::Begun;
                            at += 1;
                        }
                        None => {}
                    }
                }
                Escape::Begun => {
                    self.escaped(rest.first().copied().unwrap_or_default(), &mut put);
                    at += 1;
                }
                Escape::Digits(digits, value) => {
                    let digit = rest.first().and_then(|byte| char::from(*byte).to_digit(16)).unwrap_or_default();
                    let value = value << 4 | digit;
                    self.state = Escape::Digits(digits + 1, value);
                    if digits == 3 {
                        self.state = Escape::Outside;
                        let character = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
                        put(character.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    at += 1;
                }
            }
        }
        None
    }

    /// The letter behind a backslash.
    fn escaped(&mut self, letter: u8, put: &mut impl FnMut(&[u8])) {
        if letter == b'u' {
            self.state = Escape::Digits(0, 0);
            return;
        }
        self.state = Escape::Outside;
        let meant = match letter {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            other => other,
        };
        put(&[meant]);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The texts of a result that comes in pieces of so many bytes.
    fn texts(json: &str, piece: usize) -> Texts {
        let mut survey = Survey::default();
        json.as_bytes().chunks(piece).for_each(|bytes| survey.take(bytes));
        survey.texts()
    }

    /// A text, decoded in pieces of so many bytes.
    fn decode(json: &str, text: Option<Text>, form: Form, piece: usize) -> Vec<u8> {
        let text = text.unwrap();
        let bytes = &json.as_bytes()[usize::try_from(text.from).unwrap()..usize::try_from(text.to).unwrap()];
        let mut decoder = Decoder::new(form);
        let whole: Vec<u8> = bytes.chunks(piece).flat_map(|bytes| decoder.take(bytes).unwrap()).collect();
        assert_eq!(whole.len() as u64, text.decoded_len(form), "its length is known before it is sent");
        whole
    }

    #[test]
    fn outputs_of_kernels_are_found_and_decoded_wherever_they_are_cut() {
        for output in ["", "h", "hi", "hi!", "hi, you"] {
            let json = format!("\"{}\"", STANDARD.encode(output));
            for piece in 1..=json.len() {
                let texts = texts(&json, piece);
                assert_eq!(decode(&json, texts.whole, Form::Base64, piece), output.as_bytes(), "{piece}");
                assert_eq!(Texts { whole: None, ..texts }, Texts::default());
            }
        }
    }

    #[test]
    fn streams_of_programs_are_found_and_decoded_wherever_they_are_cut() {
        // What stands deeper, or in a text, is no stream; the order does not matter; slashes may be escaped.
        let json = concat!(
            r#"{"failed":[{"part":0,"stderr":"{\"stdout\":","failed_total":7},{"stdout":"b"}], "stdout" : "AAH\/","#,
            r#""stderr":"n\u00f6\n\"\\\/\b\f\r\t😀\u0000\u001b \ud83d! \ude00 \ud83d","#,
            r#""stderr_base64":"/4A=","stdout_of_another_kind":"c","exit_codes":{"1":12},"failed_total":12}"#
        );
        for piece in 1..=json.len() {
            let texts = texts(json, piece);
            assert_eq!((texts.whole, texts.failed_total), (None, 12));
            assert_eq!(decode(json, texts.stdout, Form::Base64, piece), [0, 1, 255]);
            let errors = "nö\n\"\\/\u{8}\u{c}\r\t😀\0\u{1b} \u{fffd}! \u{fffd} \u{fffd}";
            let end = texts.stderr.unwrap().to;
            assert_eq!(json.as_bytes()[usize::try_from(end).unwrap()], b'"');
            let decoded = decode(json, texts.stderr, Form::Plain, piece);
            assert_eq!(String::from_utf8(decoded).unwrap(), errors, "{piece}");
            assert_eq!(decode(json, texts.stderr_base64, Form::Base64, piece), [255, 128]);
        }
        assert_eq!(texts("7", 1), Texts::default());
        assert_eq!(texts(r#"[{"stdout":"AAH/"}]"#, 1), Texts::default());
    }

    #[test]
    fn what_is_no_base64_is_an_error_and_no_bytes() {
        assert_eq!(Decoder::new(Form::Base64).take(b"no base64!!!"), Err(Broken));
    }
}
