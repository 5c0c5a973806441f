//! What the terminal on standard output is like.

/// Characters of a line of it; `None` where standard output is no terminal, or does not say.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
pub fn width() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one `winsize` to where this one lies, or nothing where that is no terminal.
    let answer = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (answer == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Nobody here tells.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
pub fn width() -> Option<usize> {
    None
}
