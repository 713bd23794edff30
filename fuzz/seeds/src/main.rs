//! Writes the first inputs of the fuzz targets into `fuzz/corpus/<target>/`. A package of its own, so that it is built
//! without the targets.

use std::fs;
use std::io::Write;
use std::path::Path;

use tar::{EntryType, Header};

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for (number, archive) in archives()?.into_iter().enumerate() {
        save(
            &corpus,
            "unpack",
            number,
            &[b"\x01".as_slice(), &archive].concat(),
        )?;
        let mut gzip = flate2::write::GzEncoder::new(vec![0], flate2::Compression::fast());
        gzip.write_all(&archive)?;
        save(&corpus, "unpack", number + 1000, &gzip.finish()?)?;
        let zstd = zstd::encode_all(archive.as_slice(), 1)?;
        save(
            &corpus,
            "unpack",
            number + 2000,
            &[b"\0".as_slice(), &zstd].concat(),
        )?;
    }
    for (number, text) in REFERENCES.iter().enumerate() {
        save(&corpus, "reference", number, text.as_bytes())?;
    }
    for (number, (first, second)) in documents().into_iter().enumerate() {
        let both = [first.as_bytes(), b"\0", second.as_bytes()].concat();
        save(&corpus, "image_documents", number, &both)?;
    }
    Ok(())
}

const REFERENCES: [&str; 6] = [
    "busybox",
    "docker.io/library/busybox:1.36",
    "registry.k8s.io/e2e-test-images/busybox:1.29-2",
    "localhost:5000/a__b/c-d.e:latest",
    "r.example/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "index.docker.io/a:T_1.2-3@sha512:x",
];

/// A manifest or index, and a configuration.
fn documents() -> [(String, String); 2] {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let descriptor = |kind: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":2}}"#
        )
    };
    let configuration = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"User":"1:2","Env":["A=b"],"Volumes":{{"/v":{{}}}}}},"rootfs":{{"type":"layers","diff_ids":["{digest}"]}}}}"#
    );
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}]}}"#,
        descriptor("config.v1+json"),
        descriptor("layer.v1.tar+gzip"),
    );
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        descriptor("manifest.v1+json"),
    );
    [(manifest, configuration), (index, String::new())]
}

fn save(corpus: &Path, target: &str, number: usize, bytes: &[u8]) -> std::io::Result<()> {
    let folder = corpus.join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("seed-{number}")), bytes)
}

struct Entry<'a>(EntryType, &'a str, &'a str, &'a [u8]);

fn archives() -> std::io::Result<Vec<Vec<u8>>> {
    use EntryType as E;
    let pax = b"20 path=other/name1\n14 mtime=-1.5\n33 SCHILY.xattr.user.note=a\nbc=d\n";
    let sparse_map = b"24 GNU.sparse.map=512,3\n22 GNU.sparse.major=0\n22 GNU.sparse.minor=1\n24 GNU.sparse.size=4096\n";
    let sparse_data =
        b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n28 GNU.sparse.realsize=4096\n";
    let map = [b"1\n512\n3\n".as_slice(), &[0; 504], b"abc"].concat();
    let archives: [&[Entry<'_>]; 7] = [
        &[
            Entry(E::Directory, "./", "", b""),
            Entry(E::Directory, "d/", "", b""),
            Entry(E::Regular, "d/file", "", b"text"),
            Entry(E::Symlink, "d/link", "../file", b""),
            Entry(E::Link, "hard", "d/file", b""),
        ],
        &[
            Entry(E::Symlink, "up", "../outside", b""),
            Entry(E::Regular, "up/a", "", b"1"),
            Entry(E::Symlink, "absolute", "/outside/x", b""),
            Entry(E::Regular, "absolute/../b", "", b"2"),
            Entry(E::Regular, "up", "", b"3"),
        ],
        &[
            Entry(E::Regular, "d/.wh.gone", "", b""),
            Entry(E::Regular, "e/.wh..wh..opq", "", b""),
            Entry(E::Regular, ".wh.d", "", b""),
            Entry(E::Regular, "gone/now/here", "", b"x"),
        ],
        &[
            Entry(E::Char, "null", "", b""),
            Entry(E::Fifo, "pipe", "", b""),
            Entry(E::GNULongName, "././@LongLink", "", b"a/long/name/of/gnu\0"),
            Entry(E::Regular, "short", "", b"x"),
        ],
        &[
            Entry(E::XHeader, "pax", "", pax),
            Entry(E::Regular, "short", "", b"x"),
            Entry(E::XGlobalHeader, "pax", "", b"13 comment=xx\n"),
        ],
        &[
            Entry(E::XHeader, "pax", "", sparse_map),
            Entry(E::Regular, "sparse", "", b"abc"),
        ],
        &[
            Entry(E::XHeader, "pax", "", sparse_data),
            Entry(E::Regular, "sparse", "", &map),
        ],
    ];
    archives.iter().map(|entries| archive(entries)).collect()
}

fn archive(entries: &[Entry<'_>]) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for Entry(kind, path, link, data) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_mode(0o755);
        header.set_uid(1);
        header.set_gid(1);
        header.set_mtime(1);
        header.set_size(data.len() as u64);
        header.set_device_major(1)?;
        header.set_device_minor(3)?;
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend_from_slice(&[0; 1024]);
    Ok(bytes)
}
