//! Numbers, sizes, lengths of time and moments as people of a language write them (`Intl` of the browser).

use std::cell::RefCell;

use js_sys::{Array, Function, Intl, Object, Reflect};
use p2pnet_browser::now;
use p2pnet_shared::units::{Gas, Millis, Moment};
use wasm_bindgen::JsValue;

use crate::text::{Language, Plural, Words, shell};

/// Formatters cost a millisecond to make, so one set is kept for the language in use.
struct Formatters {
    language: Language,
    plain: Function,
    compact: Function,
    relative: Intl::RelativeTimeFormat,
}

thread_local! {
    static FORMATTERS: RefCell<Option<Formatters>> = const { RefCell::new(None) };
}

impl Words {
    /// A whole number with its groups of digits.
    pub fn number(self, number: u64) -> String {
        self.decimal(to_float(number))
    }

    /// A number with at most two digits after the point.
    pub fn decimal(self, number: f64) -> String {
        with(self.language, |formatters| call(&formatters.plain, number))
    }

    /// A large number in short: `1.2M`, `1,2 млн`.
    pub fn compact(self, number: u64) -> String {
        with(self.language, |formatters| call(&formatters.compact, to_float(number)))
    }

    /// Gas in short.
    pub fn gas(self, gas: Gas) -> String {
        self.compact(gas.0)
    }

    /// A counted text with its number written as people do.
    pub fn count(self, plural: Plural, n: u64) -> String {
        self.plural(plural, n, &self.number(n))
    }

    /// A size in bytes.
    pub fn bytes(self, bytes: u64) -> String {
        let (value, unit) = match bytes {
            0..=1023 => (to_float(bytes), shell::BYTES),
            1024..=1_048_575 => (to_float(bytes) / 1024.0, shell::KIBIBYTES),
            1_048_576..=1_073_741_823 => (to_float(bytes) / 1_048_576.0, shell::MEBIBYTES),
            1_073_741_824.. => (to_float(bytes) / 1_073_741_824.0, shell::GIBIBYTES),
        };
        self.fill(unit, &[("n", &self.decimal(round_to(value, 1)))])
    }

    /// A length of time in its two largest units.
    pub fn duration(self, span: Millis) -> String {
        let unit = |unit, n: u64| self.fill(unit, &[("n", &self.number(n))]);
        let seconds = span.0 / 1000;
        match seconds {
            0 if span.0 < 1000 => unit(shell::MILLISECONDS, span.0),
            0..=9 => self.fill(shell::SECONDS, &[("n", &self.decimal(round_to(to_float(span.0) / 1000.0, 1)))]),
            10..=59 => unit(shell::SECONDS, seconds),
            60..=3599 => pair(unit(shell::MINUTES, seconds / 60), seconds % 60, || unit(shell::SECONDS, seconds % 60)),
            3600..=86_399 => {
                let minutes = seconds % 3600 / 60;
                pair(unit(shell::HOURS, seconds / 3600), minutes, || unit(shell::MINUTES, minutes))
            }
            86_400.. => {
                let hours = seconds % 86_400 / 3600;
                pair(unit(shell::DAYS, seconds / 86_400), hours, || unit(shell::HOURS, hours))
            }
        }
    }

    /// A moment as seen from now: `3 minutes ago`, `через 2 секунды`.
    pub fn relative(self, at: Moment) -> String {
        let now = now();
        let (ahead, distance) = if at.0 >= now.0 { (1.0, at.0 - now.0) } else { (-1.0, now.0 - at.0) };
        let (value, unit) = match distance / 1000 {
            0..=1 => return self.say(shell::NOW).to_owned(),
            seconds @ 2..=59 => (seconds, "second"),
            seconds @ 60..=3599 => (seconds / 60, "minute"),
            seconds @ 3600..=86_399 => (seconds / 3600, "hour"),
            seconds @ 86_400.. => (seconds / 86_400, "day"),
        };
        with(self.language, |formatters| formatters.relative.format(ahead * to_float(value), unit).into())
    }
}

/// For showing only: above 2^53 the last digits are rounded.
pub fn to_float(number: u64) -> f64 {
    number as f64
}

fn pair(large: String, rest: u64, small: impl FnOnce() -> String) -> String {
    if rest == 0 { large } else { format!("{large} {}", small()) }
}

fn round_to(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

fn call(format: &Function, number: f64) -> String {
    format
        .call1(&JsValue::UNDEFINED, &JsValue::from_f64(number))
        .ok()
        .and_then(|text| text.as_string())
        .unwrap_or_else(|| number.to_string())
}

fn with<T>(language: Language, then: impl FnOnce(&Formatters) -> T) -> T {
    FORMATTERS.with_borrow_mut(|kept| match kept {
        Some(formatters) if formatters.language == language => then(formatters),
        Some(_) | None => then(kept.insert(Formatters::new(language))),
    })
}

impl Formatters {
    fn new(language: Language) -> Self {
        let locales = Array::of1(&JsValue::from_str(language.tag()));
        let plain = options(&[("maximumFractionDigits", JsValue::from_f64(2.0))]);
        let compact =
            options(&[("notation", JsValue::from_str("compact")), ("maximumFractionDigits", JsValue::from_f64(1.0))]);
        let relative = options(&[("numeric", JsValue::from_str("auto"))]);
        Self {
            language,
            plain: Intl::NumberFormat::new(&locales, &plain).format(),
            compact: Intl::NumberFormat::new(&locales, &compact).format(),
            relative: Intl::RelativeTimeFormat::new(&locales, &relative),
        }
    }
}

fn options(entries: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (key, value) in entries {
        // Setting a property of a fresh plain object cannot fail.
        let _ = Reflect::set(&object, &JsValue::from_str(key), value);
    }
    object
}
