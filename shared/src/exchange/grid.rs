//! Matrices as bytes, and what the matrix guest is asked.
//!
//! A call's input is one run of bytes: the operation (1 byte), then grids. A grid: its number type (1), rows (4),
//! columns (4), numbers row by row, all little-endian. What all calls share comes first. Where a grid has integers and
//! floats, each number has its own type (1) before 16 bytes: an integer, or a float's 8 and zeros.

use alloc::vec::Vec;

/// What to do. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// Two bands of rows, number by number.
    Add = 0,
    /// Two bands of rows, number by number.
    Subtract = 1,
    /// Whole B (shared), a band of A's rows: that band of the product.
    Multiply = 2,
    /// A band of columns as a grid: its transpose.
    Transpose = 3,
    /// Whole A (shared), a row of primes: the determinant modulo each.
    DeterminantModulo = 4,
    /// Whole A (shared, floats): the determinant.
    Determinant = 5,
    /// Whole A (shared), first and end of a band of columns: those columns of the inverse, as rows.
    Inverse = 6,
    /// Whole A (shared): row order, L and U.
    Lu = 7,
    /// Whole A (shared): Q and R.
    Qr = 8,
    /// Whole A (shared, symmetric): its eigenvalues, smallest first.
    Eigenvalues = 9,
}

impl Operation {
    /// The operation of that number.
    pub fn from_code(code: u8) -> Option<Self> {
        const ALL: [Operation; 10] = [
            Operation::Add,
            Operation::Subtract,
            Operation::Multiply,
            Operation::Transpose,
            Operation::DeterminantModulo,
            Operation::Determinant,
            Operation::Inverse,
            Operation::Lu,
            Operation::Qr,
            Operation::Eigenvalues,
        ];
        ALL.into_iter().find(|operation| *operation as u8 == code)
    }
}

/// Numbers of one type, row by row.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Integers that fit a word.
    Words(Vec<i64>),
    /// Integers that fit 128 bits.
    Wide(Vec<i128>),
    /// Floats.
    Floats(Vec<f64>),
    /// Integers and floats.
    Mixed(Vec<Number>),
}

/// A number that keeps its type beside numbers of the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer.
    Integer(i128),
    /// A float.
    Float(f64),
}

impl Number {
    /// The number as the nearest float.
    pub fn as_float(self) -> f64 {
        match self {
            Number::Integer(integer) => integer as f64,
            Number::Float(float) => float,
        }
    }

    fn to_bytes(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        let (code, number) = match self {
            Number::Integer(integer) => (0, integer.to_le_bytes()),
            Number::Float(float) => (1, u128::from(float.to_bits()).to_le_bytes()),
        };
        bytes[0] = code;
        bytes[1..].copy_from_slice(&number);
        bytes
    }

    fn from_bytes(bytes: [u8; 17]) -> Option<Self> {
        let number = i128::from_le_bytes(*bytes[1..].first_chunk()?);
        match bytes[0] {
            0 => Some(Number::Integer(number)),
            1 => u64::try_from(number).ok().map(f64::from_bits).map(Number::Float),
            2.. => None,
        }
    }
}

/// A matrix, or a band of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// How many rows.
    pub rows: usize,
    /// Numbers in each.
    pub columns: usize,
    /// `rows * columns` of them.
    pub numbers: Numbers,
}

impl Grid {
    /// Writes rows `first..end`.
    pub fn put_rows(&self, first: usize, end: usize, out: &mut Vec<u8>) {
        let (from, to) = (first * self.columns, end * self.columns);
        put_header(self.code(), end - first, self.columns, out);
        match &self.numbers {
            Numbers::Words(all) => put(&all[from..to], out, i64::to_le_bytes),
            Numbers::Wide(all) => put(&all[from..to], out, i128::to_le_bytes),
            Numbers::Floats(all) => put(&all[from..to], out, f64::to_le_bytes),
            Numbers::Mixed(all) => put(&all[from..to], out, Number::to_bytes),
        }
    }

    /// Writes columns `first..end`.
    pub fn put_columns(&self, first: usize, end: usize, out: &mut Vec<u8>) {
        put_header(self.code(), self.rows, end - first, out);
        for row in 0..self.rows {
            let (from, to) = (row * self.columns + first, row * self.columns + end);
            match &self.numbers {
                Numbers::Words(all) => put(&all[from..to], out, i64::to_le_bytes),
                Numbers::Wide(all) => put(&all[from..to], out, i128::to_le_bytes),
                Numbers::Floats(all) => put(&all[from..to], out, f64::to_le_bytes),
                Numbers::Mixed(all) => put(&all[from..to], out, Number::to_bytes),
            }
        }
    }

    fn code(&self) -> u8 {
        match self.numbers {
            Numbers::Words(_) => 0,
            Numbers::Wide(_) => 1,
            Numbers::Floats(_) => 2,
            Numbers::Mixed(_) => 3,
        }
    }

    /// Reads a grid at `at` and moves `at` behind it; `None` if there is none that is whole.
    pub fn take(bytes: &[u8], at: &mut usize) -> Option<Self> {
        let header = bytes.get(*at..)?.first_chunk::<9>()?;
        let rows = u32::from_le_bytes(*header[1..].first_chunk()?) as usize;
        let columns = u32::from_le_bytes(*header[5..].first_chunk()?) as usize;
        *at += 9;
        let count = rows.checked_mul(columns)?;
        let numbers = match header[0] {
            0 => Numbers::Words(take(bytes, at, count, i64::from_le_bytes)?),
            1 => Numbers::Wide(take(bytes, at, count, i128::from_le_bytes)?),
            2 => Numbers::Floats(take(bytes, at, count, f64::from_le_bytes)?),
            3 => Numbers::Mixed(take(bytes, at, count, Number::from_bytes)?.into_iter().collect::<Option<_>>()?),
            4.. => return None,
        };
        Some(Self { rows, columns, numbers })
    }

    /// Its numbers as floats.
    pub fn into_floats(self) -> Vec<f64> {
        match self.numbers {
            Numbers::Words(all) => all.into_iter().map(|word| word as f64).collect(),
            Numbers::Wide(all) => all.into_iter().map(|wide| wide as f64).collect(),
            Numbers::Floats(all) => all,
            Numbers::Mixed(all) => all.into_iter().map(Number::as_float).collect(),
        }
    }

    /// Its numbers, each with its type.
    pub fn into_mixed(self) -> Vec<Number> {
        match self.numbers {
            Numbers::Words(all) => all.into_iter().map(|word| Number::Integer(word.into())).collect(),
            Numbers::Wide(all) => all.into_iter().map(Number::Integer).collect(),
            Numbers::Floats(all) => all.into_iter().map(Number::Float).collect(),
            Numbers::Mixed(all) => all,
        }
    }

    /// Whether all its numbers are integers by their type.
    pub fn is_whole(&self) -> bool {
        match self.numbers {
            Numbers::Words(_) | Numbers::Wide(_) => true,
            Numbers::Floats(_) | Numbers::Mixed(_) => false,
        }
    }

    /// Its numbers as wide integers; `None` if there are floats among them.
    pub fn into_wide(self) -> Option<Vec<i128>> {
        match self.numbers {
            Numbers::Words(all) => Some(all.into_iter().map(i128::from).collect()),
            Numbers::Wide(all) => Some(all),
            Numbers::Floats(_) | Numbers::Mixed(_) => None,
        }
    }
}

fn put_header(code: u8, rows: usize, columns: usize, out: &mut Vec<u8>) {
    out.push(code);
    out.extend_from_slice(&(rows as u32).to_le_bytes());
    out.extend_from_slice(&(columns as u32).to_le_bytes());
}

fn put<T: Copy, const N: usize>(numbers: &[T], out: &mut Vec<u8>, bytes: fn(T) -> [u8; N]) {
    out.reserve(numbers.len() * N);
    numbers.iter().for_each(|number| out.extend_from_slice(&bytes(*number)));
}

fn take<T, const N: usize>(bytes: &[u8], at: &mut usize, count: usize, read: fn([u8; N]) -> T) -> Option<Vec<T>> {
    let raw = bytes.get(*at..)?.get(..count.checked_mul(N)?)?;
    *at += raw.len();
    Some(raw.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect())
}
