//! The options of an overlay's mount(2), which has one page for them. Pure; tested with the plan.

use carpel_shim_protocol::message::Root;

/// Room for the options of a classic mount(2): a page, its last byte a NUL.
const CLASSIC_OPTION_BYTES: usize = 4095;

/// What mount(2) is told of an overlay.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OverlayOptions {
    /// The working directory that lower directories are relative to.
    pub(crate) directory: String,
    pub(crate) options: String,
}

/// The options of a classic mount(2), if there is a way to fit them into its page: with whole paths, or with lower
/// directories relative to the directory that holds them all (`lowerdir+` of the new interface came with Linux 6.5).
pub(crate) fn options(root: &Root) -> Option<OverlayOptions> {
    // ':' separates lower directories, ',' options, and '\' escapes: such paths go by the new interface.
    let mut paths = root.lower.iter().chain([&root.upper, &root.work]);
    if paths.any(|path| path.contains([':', ',', '\\', '"'])) {
        return None;
    }
    let mut upper = match root.upper.as_str() {
        "" => String::new(),
        upper => format!(",upperdir={upper},workdir={}", root.work),
    };
    if !root.mount_label.is_empty() {
        upper.push(',');
        upper.push_str(&context(&root.mount_label));
    }
    let fits = |options: &String| options.len() <= CLASSIC_OPTION_BYTES;
    let whole = format!("lowerdir={}{upper}", root.lower.join(":"));
    if fits(&whole) {
        let directory = "/".into();
        return Some(OverlayOptions {
            directory,
            options: whole,
        });
    }
    let directory = common_directory(&root.lower)?;
    let names: Option<Vec<&str>> = root
        .lower
        .iter()
        .map(|path| path.strip_prefix(directory))
        .collect();
    let options = format!("lowerdir={}{upper}", names?.join(":"));
    fits(&options).then(|| OverlayOptions {
        directory: directory.to_owned(),
        options,
    })
}

/// The option that gives all files of a file system a label, which has commas of its own.
pub(crate) fn context(label: &str) -> String {
    format!("context=\"{label}\"")
}

/// The longest directory, with its slash, that all paths begin with; none if one of them is that directory itself.
pub(crate) fn common_directory(paths: &[String]) -> Option<&str> {
    let first = paths.first()?;
    let ends = first
        .match_indices('/')
        .map(|(index, slash)| index.saturating_add(slash.len()));
    let mut prefixes = ends.filter_map(|end| first.get(..end));
    prefixes.rfind(|prefix| {
        let holds = |path: &String| path.len() > prefix.len() && path.starts_with(prefix);
        paths.iter().all(holds)
    })
}
