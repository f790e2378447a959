//! The format specification of a field, `[[fill]align][sign][#][0][width][,][.precision][type]`, and what it does.

use super::super::error::{Result, fail};
use super::super::fuel::Fuel;
use super::super::methods::text_of;
use super::super::repr::float_text;
use super::super::text::{Text, TextBuilder};
use super::super::value::Value;
use super::Scanner;

/// Widest field and most digits; a chat template needs few.
const MAX_WIDTH: usize = 1000;

/// How a field is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    pub(super) fill: char,
    /// `<`, `>`, `^` or `=`
    pub(super) align: Option<char>,
    /// `+`, `-` or a space
    pub(super) sign: char,
    pub(super) alternate: bool,
    pub(super) width: usize,
    separator: Option<char>,
    pub(super) precision: Option<usize>,
    pub(super) kind: Option<char>,
}

impl Default for Spec {
    fn default() -> Self {
        Spec {
            fill: ' ',
            align: None,
            sign: '-',
            alternate: false,
            width: 0,
            separator: None,
            precision: None,
            kind: None,
        }
    }
}

impl Spec {
    /// Reads a specification.
    ///
    /// # Errors
    /// If it is malformed.
    pub(super) fn parse(text: &str) -> Result<Spec> {
        let mut spec = Spec::default();
        let mut scanner = Scanner::new(text);
        let mut chars = text.chars();
        if let (Some(fill), Some(align)) = (chars.next(), chars.next())
            && "<>^=".contains(align)
        {
            (spec.fill, spec.align) = (fill, Some(align));
            scanner.at = fill.len_utf8() + 1;
        } else {
            spec.align = scanner.next_of("<>^=");
        }
        spec.sign = scanner.next_of("+- ").unwrap_or('-');
        spec.alternate = scanner.next_of("#").is_some();
        if scanner.next_of("0").is_some() && spec.align.is_none() {
            (spec.fill, spec.align) = ('0', Some('='));
        }
        spec.width = scanner.number().unwrap_or(0);
        spec.separator = scanner.next_of(",_");
        if scanner.next_of(".").is_some() {
            spec.precision = Some(scanner.number().unwrap_or(0));
        }
        spec.kind = scanner.next();
        if scanner.peek().is_some() {
            return fail(format!("{text:?} is no format specification"));
        }
        Ok(spec)
    }
}

/// `format(value, spec)`.
///
/// # Errors
/// If values of its type have no such format.
pub(super) fn formatted(fuel: &Fuel, value: &Value, spec: &Spec) -> Result<Text> {
    if spec.width > MAX_WIDTH || spec.precision.is_some_and(|precision| precision > MAX_WIDTH) {
        return fail(format!("a field is wider than {MAX_WIDTH}"));
    }
    let mut out = TextBuilder::new(fuel);
    match value {
        Value::Str(text) if matches!(spec.kind, None | Some('s')) => {
            padded(&mut out, &cut(fuel, text, spec.precision)?, spec)?;
        }
        Value::Bool(_) if spec.kind.is_none() => padded(&mut out, &text_of(fuel, value)?, spec)?,
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            // A digit of a float takes long.
            fuel.burn(spec.precision.unwrap_or(0))?;
            let (negative, digits) = digits(value, spec)?;
            let sign = match (negative, spec.sign) {
                (true, _) => "-",
                (false, '+') => "+",
                (false, ' ') => " ",
                (false, _) => "",
            };
            let digits = match spec.separator {
                Some(separator) => separated(&digits, separator),
                None => digits,
            };
            if spec.align == Some('=') {
                let missing = spec.width.saturating_sub(sign.len() + digits.chars().count());
                let fill: String = std::iter::repeat_n(spec.fill, missing).collect();
                out.push_str(&format!("{sign}{fill}{digits}"));
            } else {
                let right = Spec { align: spec.align.or(Some('>')), ..*spec };
                padded(&mut out, &Text::own(sign.to_string() + &digits), &right)?;
            }
        }
        other if spec.width == 0 && spec.kind.is_none() => out.push(&text_of(fuel, other)?),
        other => return fail(format!("{:?} has no such format", other.type_name())),
    }
    out.finish()
}

/// The first characters of a text.
///
/// # Errors
/// If there is no fuel or memory for it.
pub(super) fn cut(fuel: &Fuel, text: &Text, precision: Option<usize>) -> Result<Text> {
    let end =
        precision.and_then(|count| text.as_str().char_indices().nth(count)).map_or(text.len(), |(at, _)| at);
    text.slice(fuel, 0..end)
}

/// Appends a text, filled up to the width; strings are aligned to the left unless `spec` says otherwise.
pub(super) fn padded(out: &mut TextBuilder<'_>, text: &Text, spec: &Spec) -> Result<()> {
    if spec.width > MAX_WIDTH {
        return fail(format!("a field is wider than {MAX_WIDTH}"));
    }
    // Long texts are wide enough.
    let length = text.as_str().chars().take(MAX_WIDTH).count();
    let missing = spec.width.saturating_sub(length);
    let left = match spec.align {
        Some('>' | '=') => missing,
        Some('^') => missing / 2,
        _ => 0,
    };
    let fill = |count| std::iter::repeat_n(spec.fill, count).collect::<String>();
    out.push_str(&fill(left));
    out.push(text);
    out.push_str(&fill(missing - left));
    Ok(())
}

/// Whether a number is negative, and its digits.
fn digits(value: &Value, spec: &Spec) -> Result<(bool, String)> {
    let alternate =
        |prefix: &str, digits: String| if spec.alternate { prefix.to_string() + &digits } else { digits };
    if let Some(number) = value.as_int() {
        let (negative, size) = (number < 0, number.unsigned_abs());
        let text = match spec.kind {
            None | Some('d' | 'n') => Some(size.to_string()),
            Some('x') => Some(alternate("0x", format!("{size:x}"))),
            Some('X') => Some(alternate("0X", format!("{size:X}"))),
            Some('o') => Some(alternate("0o", format!("{size:o}"))),
            Some('b') => Some(alternate("0b", format!("{size:b}"))),
            Some('c') => u32::try_from(number).ok().and_then(char::from_u32).map(String::from),
            _ => None,
        };
        if let Some(text) = text {
            return Ok((negative, text));
        }
    }
    let number = value.as_number().unwrap_or_default();
    let size = number.abs();
    let precision = spec.precision.unwrap_or(6);
    let text = match spec.kind {
        None if spec.precision.is_none() => match value {
            Value::Float(float) => float_text(float).trim_start_matches('-').to_string(),
            _ => size.to_string(),
        },
        _ if !number.is_finite() => if number.is_nan() { "nan" } else { "inf" }.to_string(),
        Some('f' | 'F') => format!("{size:.precision$}"),
        Some('%') => format!("{:.precision$}%", size * 100.0),
        Some('e') => scientific(size, precision),
        Some('E') => scientific(size, precision).to_uppercase(),
        None | Some('g') => general(size, precision, spec.kind.is_none()),
        Some('G') => general(size, precision, false).to_uppercase(),
        Some(kind) => return fail(format!("{:?} has no format {kind:?}", value.type_name())),
    };
    Ok((number.is_sign_negative() && !number.is_nan(), text))
}

/// Digits with an exponent of at least two digits.
fn scientific(size: f64, precision: usize) -> String {
    let text = format!("{size:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// `precision` significant digits without trailing zeros; with `point`, a number always shows that it is a float.
fn general(size: f64, precision: usize, point: bool) -> String {
    let precision = precision.max(1);
    let text = scientific(size, precision - 1);
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        } else {
            text.to_string()
        }
    };
    let limit = precision as i32 - i32::from(point);
    if !(-4..limit.max(1)).contains(&power) {
        return format!("{}e{exponent}", trimmed(digits));
    }
    let decimals = usize::try_from(precision as i32 - 1 - power).unwrap_or(0);
    let text = trimmed(&format!("{size:.decimals$}"));
    if point && !text.contains('.') { text + ".0" } else { text }
}

/// Digits with a separator after every three before the point.
fn separated(digits: &str, separator: char) -> String {
    let whole = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let mut out = String::new();
    for (at, c) in digits[..whole].chars().enumerate() {
        if at > 0 && (whole - at) % 3 == 0 {
            out.push(separator);
        }
        out.push(c);
    }
    out + &digits[whole..]
}
