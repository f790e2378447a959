//! Metadata values.

use super::{GgufError, cursor::Cursor};

/// A metadata value. Integers are widened; strings and arrays are slices of the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Unsigned integer of 8 to 64 bits.
    Unsigned(u64),
    /// Signed integer of 8 to 64 bits.
    Signed(i64),
    /// Float of 32 bits.
    F32(f32),
    /// Float of 64 bits.
    F64(f64),
    /// Boolean.
    Bool(bool),
    /// Text.
    String(&'a str),
    /// Several values of one type.
    Array(Array<'a>),
}

/// An array of scalars or strings: checked to be complete, decoded on access.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    element_type: u32,
    length: u64,
    bytes: &'a [u8],
}

const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Bytes of a scalar of type `number`; 0 for strings and arrays.
fn scalar_bytes(number: u32) -> Option<u64> {
    match number {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        STRING | ARRAY => Some(0),
        _ => None,
    }
}

impl<'a> Value<'a> {
    /// Reads a type number and a value of that type.
    pub(super) fn read(cursor: &mut Cursor<'a>, key: &str) -> Result<Self, GgufError> {
        let number = cursor.u32("a metadata value's type")?;
        if number == ARRAY {
            return Array::read(cursor, key).map(Value::Array);
        }
        Self::read_as(cursor, number).map_err(|error| match error {
            GgufError::ValueType { found, .. } => GgufError::ValueType { key: key.to_string(), found },
            other => other,
        })
    }

    /// Reads a scalar or string of type `number`.
    fn read_as(cursor: &mut Cursor<'a>, number: u32) -> Result<Self, GgufError> {
        if number == STRING {
            return cursor.string("a metadata string").map(Value::String);
        }
        let size = match scalar_bytes(number) {
            Some(size) if size > 0 => size,
            _ => return Err(GgufError::ValueType { key: String::new(), found: number }),
        };
        let slice = cursor.take(size, "a metadata value")?;
        let mut wide = [0; 8];
        for (to, from) in wide.iter_mut().zip(slice) {
            *to = *from;
        }
        let bits = u64::from_le_bytes(wide);
        // Truncating casts: the upper bytes are zero.
        Ok(match number {
            1 => Value::Signed(i64::from(bits as u8 as i8)),
            3 => Value::Signed(i64::from(bits as u16 as i16)),
            5 => Value::Signed(i64::from(bits as u32 as i32)),
            6 => Value::F32(f32::from_bits(bits as u32)),
            7 => Value::Bool(bits != 0),
            11 => Value::Signed(bits as i64),
            12 => Value::F64(f64::from_bits(bits)),
            _ => Value::Unsigned(bits),
        })
    }

    /// As a non-negative integer, which may be written as a float.
    pub fn as_u64(&self) -> Option<u64> {
        /// Up to here a float identifies an integer.
        const EXACT: f64 = (1_u64 << 53) as f64;
        match *self {
            Value::Unsigned(value) => Some(value),
            Value::Signed(value) => u64::try_from(value).ok(),
            Value::F32(_) | Value::F64(_) => {
                let value = self.as_f64()?;
                (value.fract() == 0.0 && (0.0..=EXACT).contains(&value)).then_some(value as u64)
            }
            _ => None,
        }
    }

    /// As a number.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::Unsigned(value) => Some(value as f64),
            Value::Signed(value) => Some(value as f64),
            // Via the shortest decimal representation, so that 1e-5 stored as f32 reads as 1e-5.
            Value::F32(value) => value.to_string().parse().ok(),
            Value::F64(value) => Some(value),
            _ => None,
        }
    }

    /// As a boolean, which may be written as 0 or 1.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Value::Bool(value) => Some(value),
            Value::Unsigned(0) | Value::Signed(0) => Some(false),
            Value::Unsigned(1) | Value::Signed(1) => Some(true),
            _ => None,
        }
    }

    /// As text.
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            Value::String(value) => Some(value),
            _ => None,
        }
    }

    /// As an array.
    pub fn as_array(&self) -> Option<Array<'a>> {
        match *self {
            Value::Array(value) => Some(value),
            _ => None,
        }
    }

    /// For error messages: the value, shortened.
    pub fn describe(&self) -> String {
        match self {
            Value::Unsigned(value) => value.to_string(),
            Value::Signed(value) => value.to_string(),
            Value::F32(value) => value.to_string(),
            Value::F64(value) => value.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::String(value) => format!("{:?}", value.chars().take(40).collect::<String>()),
            Value::Array(array) => format!("an array of {} values", array.len()),
        }
    }
}

impl<'a> Array<'a> {
    fn read(cursor: &mut Cursor<'a>, key: &str) -> Result<Self, GgufError> {
        let element_type = cursor.u32("an array's type")?;
        let length = cursor.u64("an array's length")?;
        let error = || GgufError::ValueType { key: key.to_string(), found: element_type };
        let size = scalar_bytes(element_type).ok_or_else(error)?;
        if element_type == ARRAY {
            return Err(error());
        }
        if element_type != STRING {
            let bytes = cursor.take(length.saturating_mul(size), "a metadata array")?;
            return Ok(Array { element_type, length, bytes });
        }
        let start = cursor.clone();
        for _ in 0..length {
            cursor.string("a string of a metadata array")?;
        }
        let bytes = start.clone().take((cursor.offset() - start.offset()) as u64, "a metadata array")?;
        Ok(Array { element_type, length, bytes })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        // Each takes at least one byte of the file, which fits in memory.
        self.length as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The elements.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut cursor = Cursor::new(self.bytes, 0);
        let element_type = self.element_type;
        // The array was checked to be complete, so no element is missing.
        (0..self.length).map_while(move |_| Value::read_as(&mut cursor, element_type).ok())
    }
}
