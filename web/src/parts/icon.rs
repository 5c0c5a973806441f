//! The logo and the few pictures of the page, drawn as lines so that they take the text's colour.

use yew::prelude::*;

/// A picture of 24 by 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    Donate,
    Jobs,
    New,
    Network,
    About,
    Sun,
    Moon,
    Auto,
    Copy,
    Download,
    File,
}

impl Icon {
    /// A name, for keys.
    pub fn name(self) -> &'static str {
        match self {
            Icon::Donate => "donate",
            Icon::Jobs => "jobs",
            Icon::New => "new",
            Icon::Network => "network",
            Icon::About => "about",
            Icon::Sun => "sun",
            Icon::Moon => "moon",
            Icon::Auto => "auto",
            Icon::Copy => "copy",
            Icon::Download => "download",
            Icon::File => "file",
        }
    }

    /// The lines, as an SVG path.
    fn path(self) -> &'static str {
        match self {
            Icon::Donate => "M12 20s-7-4.4-7-9.6A3.9 3.9 0 0 1 12 8a3.9 3.9 0 0 1 7 2.4C19 15.6 12 20 12 20z",
            Icon::Jobs => "M5 7h2M5 12h2M5 17h2M10 7h9M10 12h9M10 17h9",
            Icon::New => "M12 5v14M5 12h14",
            Icon::Network => {
                "M12 9.5V6M9.9 13.3l-3.4 2.2M14.1 13.3l3.4 2.2M12 6a1.8 1.8 0 1 0 0-3.6A1.8 1.8 0 0 0 12 6zM5 18.5\
                 a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6zM19 18.5a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6zM12 14.5a2.5 \
                 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z"
            }
            Icon::About => "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5M12 7.6v.1",
            Icon::Sun => {
                "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6L7 7M17 17l1.4 1.4M18.4 5.6L17 \
                 7M7 17l-1.4 1.4"
            }
            Icon::Moon => "M20 14.5A8 8 0 0 1 9.5 4 8 8 0 1 0 20 14.5z",
            Icon::Auto => "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 4v16M12 8h6.9M12 12h8M12 16h6.9",
            Icon::Copy => "M9 9h10v11H9zM15 9V4H5v11h4",
            Icon::Download => "M12 4v11M7.5 11l4.5 4.5 4.5-4.5M5 20h14",
            Icon::File => "M7 3h7l4 4v14H7zM14 3v4h4",
        }
    }

    /// The picture, hidden from screen readers: words always stand beside it.
    pub fn draw(self) -> Html {
        html! {
            <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.8"
                stroke-linecap="round" stroke-linejoin="round">
                <path d={self.path()} />
            </svg>
        }
    }
}

/// Three nodes that hold each other, and the light between them.
#[component]
pub fn Logo() -> Html {
    html! {
        <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
            <path d="M16 6L26 23H6z" fill="none" stroke="currentColor" stroke-width="2.2" stroke-linejoin="round" />
            <circle class="logo-a" cx="16" cy="6" r="4.2" />
            <circle class="logo-b" cx="26" cy="23.5" r="4.2" />
            <circle class="logo-c" cx="6" cy="23.5" r="4.2" />
            <circle class="logo-light" cx="16" cy="17.6" r="2.4" />
        </svg>
    }
}
