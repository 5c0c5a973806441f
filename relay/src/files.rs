//! Files that somebody names: of each at most so many bytes are read, because a device or a pipe may never end.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    path::Path,
};

/// Reads a whole file of at most `most` bytes.
///
/// # Errors
/// The system's own; [`ErrorKind::FileTooLarge`] for a longer one, of which no more is read than shows that.
pub fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    whole(File::open(path)?, most)
}

/// The same of what is open already, such as standard input.
///
/// # Errors
/// As [`read`].
pub fn whole(source: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!("it has more than {most} bytes, which is the most that is taken"),
        ));
    }
    Ok(bytes)
}

/// Reads a whole file of at most `most` bytes as text.
///
/// # Errors
/// As [`read`]; [`ErrorKind::InvalidData`] for what is not UTF-8.
pub fn read_text(path: &Path, most: usize) -> io::Result<String> {
    String::from_utf8(read(path, most)?).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_shows_that_it_is_too_much() {
        let mut endless = io::repeat(b'x');
        assert_eq!(whole(endless.by_ref(), 100).unwrap_err().kind(), ErrorKind::FileTooLarge);
        let mut left: &[u8] = &[0; 200];
        assert!(whole(&mut left, 100).is_err() && left.len() == 99);
        assert_eq!(whole(&b"four"[..], 4).unwrap(), b"four");
        assert!(whole(io::empty(), 0).unwrap().is_empty());
    }
}
