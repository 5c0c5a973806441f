//! What a person does on the page, by its `data-testid` hooks.
