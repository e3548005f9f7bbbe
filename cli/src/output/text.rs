//! Makes text that comes from others safe to print on a terminal.

/// One line: line breaks and other control characters become spaces.
pub fn safe_line(text: &str) -> String {
    let shown = text.trim().chars();
    shown.map(|c| if is_hostile(c) { ' ' } else { c }).collect()
}

/// Several lines: line breaks, tabs and colours are kept, whatever else could steer a terminal is
/// shown as `�`.
pub fn safe_block(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let len = match colour_len(rest) {
            Some(len) => {
                safe.push_str(&rest[..len]);
                len
            }
            None => {
                let kept = matches!(c, '\n' | '\t') || !is_hostile(c);
                if kept {
                    safe.push(c);
                } else if c != '\r' {
                    safe.push('\u{fffd}');
                } else if !rest.starts_with("\r\n") {
                    // A lone carriage return would overwrite the line: a new one shows all.
                    safe.push('\n');
                }
                c.len_utf8()
            }
        };
        rest = &rest[len..];
    }
    safe
}

/// Control characters, and those that turn the direction of text around.
fn is_hostile(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How long the colour sequence at the start is: `ESC [ digits and ; m`.
fn colour_len(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let len = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    parameters[len..].starts_with('m').then_some(len + 3)
}
