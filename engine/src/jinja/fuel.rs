//! Limits on what a template computes, stores and nests.

use super::error::{Error, Result, fail};
use super::value::{Fields, Items, Key, Map, Value};
use std::cell::Cell;
use std::rc::Rc;

/// Bytes that one unit pays for where text is only copied or searched.
pub(super) const BYTES_PER_UNIT: usize = 64;
/// Bytes that one unit pays for where every character is looked at.
const BYTES_PER_UNIT_OF_CHARACTERS: usize = 8;
/// Most bytes that a template's values take at once.
pub(crate) const MAX_MEMORY: usize = 64 << 20;
/// Most blocks, expressions, macros and filters within one another. A WebAssembly stack is small.
pub(super) const MAX_DEPTH: usize = 140;
/// Deepest nesting of lists and maps in a value; JSON is read to 128.
pub(super) const MAX_NESTING: usize = 140;
/// What a list takes beside its items.
const LIST_BYTES: usize = 128;
/// What a map takes beside its entries, and for the room that small ones have.
const MAP_BYTES: usize = 512;
/// What an entry of a map takes: key, value, hash and its place in the table, which may be half empty.
pub(super) const ENTRY_BYTES: usize = 256;

/// What is left to compute and to store. A unit pays for a step of the interpreter, for an item of a list, or for some
/// bytes of text.
#[derive(Debug)]
pub(super) struct Fuel {
    units: Cell<u64>,
    memory: Rc<Cell<usize>>,
    /// Half levels.
    depth: Cell<usize>,
}

/// The bytes of a value, which are free again when it is dropped. Values of the input hold none.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: usize,
    memory: Option<Rc<Cell<usize>>>,
}

impl Fuel {
    pub(super) fn new(units: u64) -> Self {
        Fuel { units: Cell::new(units), memory: Rc::default(), depth: Cell::new(0) }
    }

    /// Uses units up.
    ///
    /// # Errors
    /// If there are not as many.
    pub(super) fn burn(&self, units: usize) -> Result<()> {
        self.burn_weight(units as u64)
    }

    /// Pays for looking at, comparing or hashing a value of this weight.
    ///
    /// # Errors
    /// As [`Fuel::burn`].
    pub(super) fn burn_weight(&self, weight: u64) -> Result<()> {
        let left = self.units.get().checked_sub(weight);
        self.units.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(Error::OutOfFuel)
    }

    /// Pays for copying or searching this many bytes.
    ///
    /// # Errors
    /// As [`Fuel::burn`].
    pub(super) fn burn_bytes(&self, bytes: usize) -> Result<()> {
        self.burn(1 + bytes / BYTES_PER_UNIT)
    }

    /// Pays for going through the characters of this many bytes.
    ///
    /// # Errors
    /// As [`Fuel::burn`].
    pub(super) fn burn_characters(&self, bytes: usize) -> Result<()> {
        self.burn(1 + bytes / BYTES_PER_UNIT_OF_CHARACTERS)
    }

    /// Runs `run` one level deeper.
    ///
    /// # Errors
    /// If it is the last level, or `run` fails.
    pub(super) fn deeper<T>(&self, run: impl FnOnce() -> Result<T>) -> Result<T> {
        self.halves_deeper(2, run)
    }

    /// Runs `run` for a value within another, which takes half the stack of a level.
    ///
    /// # Errors
    /// As [`Fuel::deeper`].
    pub(super) fn inside<T>(&self, run: impl FnOnce() -> Result<T>) -> Result<T> {
        self.halves_deeper(1, run)
    }

    fn halves_deeper<T>(&self, halves: usize, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let depth = self.depth.get();
        if depth + halves > 2 * MAX_DEPTH {
            return fail(format!("blocks, macros or values are nested deeper than {MAX_DEPTH} levels"));
        }
        self.depth.set(depth + halves);
        let result = run();
        self.depth.set(depth);
        result
    }

    /// Memory of this size.
    ///
    /// # Errors
    /// If there is no more.
    pub(super) fn hold(&self, bytes: usize) -> Result<Held> {
        let mut held = Held { bytes: 0, memory: Some(Rc::clone(&self.memory)) };
        held.grow(bytes)?;
        Ok(held)
    }

    /// Memory that is used to the end.
    ///
    /// # Errors
    /// If there is no more.
    pub(super) fn keep(&self, bytes: usize) -> Result<()> {
        take(&self.memory, bytes)
    }

    fn items(&self, values: Vec<Value>) -> Result<Items> {
        self.burn(2 + values.len() / 4)?;
        let held = self.hold(LIST_BYTES + values.capacity() * size_of::<Value>())?;
        let items = Items::new(values, held);
        if items.depth() > MAX_NESTING { too_deep() } else { Ok(items) }
    }

    /// The items of a list that is no value by itself.
    ///
    /// # Errors
    /// If it needs too much memory, or is nested too deeply.
    pub(super) fn sequence(&self, values: Vec<Value>) -> Result<Rc<Items>> {
        self.items(values).map(Rc::new)
    }

    /// A list.
    ///
    /// # Errors
    /// As [`Fuel::sequence`].
    pub(super) fn list(&self, values: Vec<Value>) -> Result<Value> {
        self.sequence(values).map(Value::List)
    }

    /// A tuple.
    ///
    /// # Errors
    /// As [`Fuel::sequence`].
    pub(super) fn tuple(&self, values: Vec<Value>) -> Result<Value> {
        self.sequence(values).map(Value::Tuple)
    }

    /// A map.
    ///
    /// # Errors
    /// As [`Fuel::sequence`].
    pub(super) fn map(&self, map: Map) -> Result<Value> {
        self.burn(1 + map.len() / 2)?;
        let held = self.hold(MAP_BYTES + map.len() * ENTRY_BYTES)?;
        let fields = Fields::new(map, held);
        if fields.depth() > MAX_NESTING { too_deep() } else { Ok(Value::Map(Rc::new(fields))) }
    }

    /// A key of a map, whose hash is paid for.
    ///
    /// # Errors
    /// If the value cannot be one.
    pub(super) fn key(&self, value: Value) -> Result<Key> {
        if !value.is_hashable() {
            return fail(format!("{:?} cannot be a key", value.type_name()));
        }
        self.burn_weight(1 + value.weight())?;
        Ok(Key(value))
    }

    /// `a == b`.
    ///
    /// # Errors
    /// As [`Fuel::burn`].
    pub(super) fn equal(&self, a: &Value, b: &Value) -> Result<bool> {
        self.burn_weight(1 + a.weight().min(b.weight()))?;
        Ok(a == b)
    }
}

fn too_deep<T>() -> Result<T> {
    fail(format!("lists or maps are nested deeper than {MAX_NESTING} levels"))
}

impl Held {
    /// Takes more memory.
    ///
    /// # Errors
    /// If there is no more.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<()> {
        if let Some(memory) = &self.memory {
            take(memory, bytes)?;
            self.bytes += bytes;
        }
        Ok(())
    }
}

fn take(memory: &Cell<usize>, bytes: usize) -> Result<()> {
    let used = memory.get().saturating_add(bytes);
    if used > MAX_MEMORY {
        return Err(Error::OutOfMemory);
    }
    memory.set(used);
    Ok(())
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(memory) = &self.memory {
            memory.set(memory.get() - self.bytes);
        }
    }
}
