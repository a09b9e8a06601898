//! The kernel arguments of an image that fetches its root file system instead of having it.

/// Says which volume the root file system is on.
pub(super) const LIVE_ISO: &str = "coreos.liveiso=";

/// `text` without [`LIVE_ISO`] and with `argument` at its end. Other words, and the blanks before them, stay.
pub(super) fn edited(text: &str, argument: &str) -> String {
    let mut edited = String::with_capacity(text.len() + argument.len() + 1);
    let mut rest = text;
    while !rest.is_empty() {
        let blanks = rest.len() - rest.trim_start().len();
        let word_len = rest.trim_start().find(char::is_whitespace).unwrap_or(rest.len() - blanks);
        let (blanks_and_word, after) = rest.split_at(blanks + word_len);
        let word = blanks_and_word.trim_start();
        if !word.is_empty() && !word.starts_with(LIVE_ISO) {
            edited.push_str(blanks_and_word);
        }
        rest = after;
    }
    if !edited.is_empty() {
        edited.push(' ');
    }
    edited.push_str(argument);
    edited
}

#[cfg(test)]
mod tests {
    use super::edited;

    #[test]
    fn only_one_argument_goes_and_one_comes() {
        for (text, expected) in [
            ("rw coreos.liveiso=rhcos-1 quiet", "rw quiet U"),
            ("rw  coreos.liveiso=a\tquiet \t", "rw\tquiet U"),
            ("coreos.liveiso=a quiet", " quiet U"),
            ("quiet coreos.liveiso=a", "quiet U"),
            ("\tlinux /vmlinuz coreos.liveiso=a coreos.liveiso=b x", "\tlinux /vmlinuz x U"),
            ("xcoreos.liveiso=a", "xcoreos.liveiso=a U"),
            ("coreos.liveiso=a", "U"),
            ("", "U"),
        ] {
            assert_eq!(edited(text, "U"), expected, "{text:?}");
        }
    }
}
