//! The write-ahead log, looked at before SQLite opens it. SQLite takes of a log what is whole from its beginning on, and drops
//! the rest without a word: right for what a crash cut off, and the loss of promises where somebody or something damaged
//! what had been on disk. The format: <https://sqlite.org/fileformat2.html#the_write_ahead_log>, and of the index beside
//! it: <https://sqlite.org/walformat.html>.
//!
//! Behind what is whole there may lie what was never promised: the beginning of a transaction that a crash cut off, what
//! was left of one that was undone, and frames of before the log was begun anew, whose salts are others. The index says
//! how many frames had been promised when the process died. Without it (it is not forced onto the disk, and copies of a
//! folder leave it out) only transactions behind the damage tell: more than the one that a crash may have cut off.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The lowest bit says whether words are summed as big-endian.
const MAGIC: u32 = 0x377f_0682;
/// Of the log's format, and of its index's.
const VERSION: u32 = 3_007_000;
/// One of two equal ones at the beginning of the index.
const INDEX_HEADER_BYTES: usize = 48;
/// Those, and how many frames have been brought into the database.
const INDEX_BYTES: usize = 2 * INDEX_HEADER_BYTES + 4;
/// Ended transactions that may lie behind what is whole: one that a crash cut off.
const MOST_ENDS_BEHIND: usize = 1;

/// What is wrong with the log `log` of `database`, whose index is `index`; `None` when it is whole, was cut off by a crash,
/// or is not there and held nothing.
///
/// # Errors
/// A file cannot be read.
pub(super) fn damage_of(database: &Path, log: &Path, index: &Path) -> io::Result<Option<String>> {
    let index = Index::read(index)?;
    let is_missed = index.as_ref().is_some_and(|index| index.backfilled < index.frames);
    let file = match File::open(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(is_missed.then(|| "it is missing, and the index beside it says that it held jobs".to_owned()));
        }
        file => file?,
    };
    // The header is forced onto the disk before the first frame is written.
    if file.metadata()?.len() <= HEADER_BYTES as u64 {
        return Ok(is_missed.then(|| "it is empty, and the index beside it says that it held jobs".to_owned()));
    }
    let mut file = BufReader::with_capacity(256 << 10, file);
    let mut header = [0; HEADER_BYTES];
    file.read_exact(&mut header)?;
    let Some(header) = Header::read(&header) else {
        return Ok(Some("its header is not what SQLite writes".to_owned()));
    };
    if page_bytes_of(database)?.is_some_and(|bytes| bytes != header.page_bytes) {
        return Ok(Some("it belongs to another database".to_owned()));
    }
    let frames = Frames::read(&mut file, &header)?;
    let whole = frames.whole;
    Ok(match index.filter(|index| index.salts == header.salts).map(|index| index.frames) {
        Some(promised) if promised > whole => {
            Some(format!("of its {promised} frames only the first {whole} are whole"))
        }
        Some(_) => None,
        None => (frames.ends_behind > MOST_ENDS_BEHIND)
            .then(|| format!("its frame {} is damaged, and whole ones lie behind it", whole + 1)),
    })
}

/// What begins the log.
struct Header {
    is_big_endian: bool,
    page_bytes: usize,
    /// What every frame of this log carries.
    salts: [u8; 8],
    sums: Sums,
}

/// The running sums, from the header over every frame.
type Sums = (u32, u32);

impl Header {
    fn read(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let magic = word(bytes, 0);
        let page_bytes = word(bytes, 8);
        let mut header = Self {
            is_big_endian: magic & 1 == 1,
            page_bytes: usize::try_from(page_bytes).ok()?,
            salts: bytes[16..24].try_into().ok()?,
            sums: (word(bytes, 24), word(bytes, 28)),
        };
        header.sums = header.sum((0, 0), &bytes[..24]);
        let is_sound = magic & !1 == MAGIC
            && word(bytes, 4) == VERSION
            && page_bytes.is_power_of_two()
            && (512..=65_536).contains(&page_bytes)
            && header.sums == (word(bytes, 24), word(bytes, 28));
        is_sound.then_some(header)
    }

    fn sum(&self, before: Sums, bytes: &[u8]) -> Sums {
        bytes.as_chunks::<8>().0.iter().fold(before, |(one, two), &[a, b, c, d, e, f, g, h]| {
            let (first, second) = ([a, b, c, d], [e, f, g, h]);
            let of = if self.is_big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
            let one = one.wrapping_add(of(first)).wrapping_add(two);
            (one, two.wrapping_add(of(second)).wrapping_add(one))
        })
    }
}

/// What lies behind the header.
#[derive(Default)]
struct Frames {
    /// Frames from the beginning on that are whole.
    whole: usize,
    /// Ends of transactions behind those: frames of this log that follow on the one before them.
    ends_behind: usize,
}

impl Frames {
    fn read(log: &mut impl Read, header: &Header) -> io::Result<Self> {
        let mut frames = Self::default();
        let mut before = header.sums;
        let mut is_whole = true;
        let mut frame = vec![0; FRAME_HEADER_BYTES + header.page_bytes];
        while read_all(log, &mut frame)? {
            let (head, page) = frame.split_at(FRAME_HEADER_BYTES);
            let sums = (word(head, 16), word(head, 20));
            let follows = head[8..16] == header.salts
                && word(head, 0) != 0
                && header.sum(header.sum(before, &head[..8]), page) == sums;
            is_whole &= follows;
            if is_whole {
                frames.whole += 1;
            } else if follows && word(head, 4) != 0 {
                frames.ends_behind += 1;
            }
            before = sums;
        }
        Ok(frames)
    }
}

/// What the index says of the log.
struct Index {
    salts: [u8; 8],
    /// How many had been promised.
    frames: usize,
    /// How many of those are in the database.
    backfilled: usize,
}

impl Index {
    /// `None` where it does not tell.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut bytes = [0; INDEX_BYTES];
        match File::open(path).map(|mut file| read_all(&mut file, &mut bytes)) {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(Err(error)) | Err(error) => return Err(error),
        }
        // In the byte order of the machine, and twice: a crash in the middle of one leaves the two different.
        let (headers, backfilled) = bytes.split_at(2 * INDEX_HEADER_BYTES);
        let (header, copy) = headers.split_at(INDEX_HEADER_BYTES);
        let mut salts = [0; 8];
        salts.copy_from_slice(&header[32..40]);
        let native = Header { is_big_endian: cfg!(target_endian = "big"), page_bytes: 0, salts, sums: (0, 0) };
        let is_sound = header == copy
            && native_word(header, 0) == VERSION
            && header[12] == 1
            && native.sum((0, 0), &header[..40]) == (native_word(header, 40), native_word(header, 44));
        let count = |word| usize::try_from(word).unwrap_or(usize::MAX);
        Ok(is_sound.then(|| Self {
            salts,
            frames: count(native_word(header, 16)),
            backfilled: count(native_word(backfilled, 0)),
        }))
    }
}

/// The size of the pages of a database, if it is one.
fn page_bytes_of(database: &Path) -> io::Result<Option<usize>> {
    let mut head = [0; 18];
    let is_long = read_all(&mut File::open(database)?, &mut head)?;
    let bytes = usize::from(u16::from_be_bytes([head[16], head[17]]));
    // 65,536 does not fit.
    Ok((is_long && head.starts_with(b"SQLite format 3\0")).then_some(if bytes == 1 { 65_536 } else { bytes }))
}

/// Whether there was so much.
fn read_all(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The word at a place, which must be within.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn native_word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests;
