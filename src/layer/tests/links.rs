//! Links that lead out, or to what they must not.

use super::*;

#[test]
fn root_links_that_lead_out_are_followed_below_the_target_only() {
    needs_root!();
    let target = Target::new();
    let outside = target.folder.path().join("outside");
    let archive = Tar::default()
        .symlink("up", "../outside")
        .file("up/a", "1")
        .symlink("absolute", outside.to_str().unwrap())
        .file("absolute/b", "2")
        .symlink("first", "second")
        .symlink("second", "../../outside")
        .file("first/c", "3")
        .finish();
    target.unpack(&archive).unwrap();
    assert!(target.is_confined());
    assert_eq!(target.text("outside/a"), "1");
    assert_eq!(target.text("outside/c"), "3");
    let inside = target.path("").join(outside.strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(inside.join("b")).unwrap(), "2");
}

#[test]
fn root_hard_links_to_the_outside_are_refused() {
    needs_root!();
    for link in ["../outside/secret", "/etc/passwd", "out/secret", ""] {
        let target = Target::new();
        let secret = target.folder.path().join("outside/secret");
        File::create(&secret).unwrap();
        let archive = Tar::default()
            .symlink("out", "../outside")
            .hard_link("stolen", link)
            .finish();
        let error = target.unpack(&archive).unwrap_err();
        assert!(
            matches!(error, LayerError::Entry { step: "link", .. }),
            "{link}: {error}"
        );
        assert_eq!(fs::metadata(&secret).unwrap().nlink(), 1, "{link}");
    }
}

#[test]
fn root_a_file_never_writes_through_a_link_of_its_own_name() {
    needs_root!();
    let target = Target::new();
    let victim = target.folder.path().join("outside/victim");
    let archive = Tar::default()
        .symlink("a", victim.to_str().unwrap())
        .file("a", "data")
        .finish();
    target.unpack(&archive).unwrap();
    assert!(target.is_confined());
    assert!(fs::symlink_metadata(target.path("a")).unwrap().is_file());
}

#[test]
fn root_a_link_that_was_in_the_target_before_is_not_followed_out() {
    needs_root!();
    let target = Target::new();
    symlink("/", target.path("root")).unwrap();
    let archive = Tar::default().file("root/tmp-of-layer/a", "x").finish();
    target.unpack(&archive).unwrap();
    assert_eq!(target.text("tmp-of-layer/a"), "x");
    assert!(!Path::new("/tmp-of-layer").exists());
}

#[test]
fn root_a_hard_link_to_a_link_is_the_link_and_directories_and_whiteouts_have_one_name() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default()
        .symlink("a", "../outside")
        .hard_link("b", "a")
        .finish();
    target.unpack(&archive).unwrap();
    let link = fs::symlink_metadata(target.path("b")).unwrap();
    assert!(link.is_symlink());
    assert_eq!(link.nlink(), 2);
    assert!(target.is_confined());
    for archive in [
        Tar::default().directory("a", 0o755).hard_link("b", "a"),
        Tar::default().file(".wh.a", "").hard_link("b", "a"),
        Tar::default().directory("a", 0o755).hard_link("b", "a/.."),
        Tar::default().file("a/b", "").hard_link("a", "a/b"),
    ] {
        let error = Target::new().unpack(&archive.finish()).unwrap_err();
        assert!(
            matches!(error, LayerError::Entry { step: "link", .. }),
            "{error}"
        );
    }
}

#[test]
fn root_a_directory_that_becomes_a_link_is_not_written_through_from_memory() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default()
        .directory("d", 0o755)
        .file("d/x", "1")
        .symlink("d", "/outside")
        .file("d/y", "2")
        .finish();
    target.unpack(&archive).unwrap();
    assert!(target.is_confined());
    assert_eq!(target.text("outside/y"), "2");
    assert!(!target.path("outside/x").exists());
}

#[test]
fn root_missing_directories_are_made_where_the_kernel_would_look_for_them() {
    needs_root!();
    let target = Target::new();
    // `..` in the target of a link counts from where the link really is.
    let archive = Tar::default()
        .directory("a/b", 0o755)
        .symlink("short", "a/b")
        .symlink("a/b/up", "../new/./x//")
        .file("short/up/file", "here")
        .finish();
    let unpacked = target.unpack(&archive).unwrap();
    assert_eq!(target.text("a/new/x/file"), "here");
    let implied = ["", "a", "a/new", "a/new/x"].map(PathBuf::from);
    assert_eq!(unpacked.implied, implied);
}

#[test]
fn root_an_entry_beyond_a_link_describes_the_real_directory() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default()
        .symlink("link", "real")
        .file("real/d/file", "x")
        .directory("link/d", 0o700)
        .finish();
    let unpacked = target.unpack(&archive).unwrap();
    assert_eq!(unpacked.implied, ["", "real"].map(PathBuf::from));
    let directory = fs::metadata(target.path("real/d")).unwrap();
    assert_eq!(
        (directory.mode() & 0o7777, directory.mtime()),
        (0o700, 1_000_000)
    );
}
