//! Compression, truncation, and what follows the end.

use super::*;

#[test]
fn root_gzip_zstd_and_plain_archives_give_the_same_diff_id() {
    needs_root!();
    let archive = Tar::default().file("a", &"text ".repeat(50_000)).finish();
    let half = archive.len() / 2;
    let mut gzip = Vec::new();
    for part in [&archive[..half], &archive[half..]] {
        let mut encoder = flate2::write::GzEncoder::new(&mut gzip, flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    let zstd = zstd::encode_all(archive.as_slice(), 1).unwrap();
    let expected = Target::new().unpack(&archive).unwrap();
    for compressed in [gzip, zstd] {
        let target = Target::new();
        assert_eq!(target.unpack(&compressed).unwrap(), expected);
        assert_eq!(target.text("a").len(), 250_000);
    }
}

#[test]
fn root_another_diff_id_is_an_error() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default().file("a", "x").finish();
    let right = target.unpack(&archive).unwrap().diff_id;
    let wrong = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    let again = |expected| {
        unpack(
            archive.as_slice(),
            &target.path(""),
            Some(expected),
            Limits::default(),
        )
    };
    assert!(again(&right).is_ok());
    assert!(matches!(again(&wrong), Err(LayerError::WrongDiffId { .. })));
}

#[test]
fn root_zstd_of_several_frames_is_read_and_what_follows_a_stream_is_refused() {
    needs_root!();
    let archive = Tar::default().file("a", "text").finish();
    let half = archive.len() / 2;
    // RFC 8878 §3.1.2: a frame that is skipped, before, between and after.
    let skipped = b"\x5a\x2a\x4d\x18\x03\0\0\0abc".to_vec();
    let frame = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let frames = [
        skipped.clone(),
        frame(&archive[..half]),
        skipped.clone(),
        frame(&archive[half..]),
        skipped,
    ]
    .concat();
    let target = Target::new();
    target.unpack(&frames).unwrap();
    assert_eq!(target.text("a"), "text");
    let gzip = gzip(&archive);
    for (stream, rest) in [
        (&gzip, b"\0\0\0\0".as_slice()),
        (&gzip, b"garbage"),
        (&frame(&archive), b"garbage"),
    ] {
        let longer = [stream.as_slice(), rest].concat();
        let error = Target::new().unpack(&longer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{rest:?}: {error}");
    }
}

#[test]
fn root_streams_that_end_early_are_corrupt_wherever_they_end() {
    needs_root!();
    let archive = Tar::default().file("a", &"text ".repeat(1000)).finish();
    for stream in [
        gzip(&archive),
        zstd::encode_all(archive.as_slice(), 1).unwrap(),
    ] {
        for length in (4..stream.len()).step_by(7) {
            let error = Target::new().unpack(&stream[..length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}: {error}");
        }
    }
}

#[test]
fn root_a_window_beyond_the_bound_is_refused() {
    needs_root!();
    let archive = Tar::default().file("a", "text").finish();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&archive).unwrap();
    let stream = encoder.finish().unwrap();
    let error = Target::new().unpack(&stream).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
