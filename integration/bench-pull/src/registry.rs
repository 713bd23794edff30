//! The registry: files by HTTP, as cheaply as they can be had, in the network namespace of whoever pulls.
//!
//! It knows just enough of the distribution protocol for a pull: manifests by whatever name, blobs by digest. Files go
//! from the page cache to the socket by sendfile(2), so that it takes little of the processors that are measured.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use nix::sched::{CloneFlags, setns};
use sha2::{Digest, Sha256};

use super::error::BenchError;
use super::picture::{Picture, digest_of};

/// Serves the images until this process ends, on the loopback interface that process `pid` sees.
pub(crate) fn serve(pid: i32, pictures: Vec<Picture>) -> Result<SocketAddr, BenchError> {
    let failed = |source| BenchError::Serve { pid, source };
    let (sender, receiver) = mpsc::channel();
    let pictures = Arc::new(pictures);
    // A thread of its own: it stays in the namespace that it enters.
    thread::spawn(move || {
        let listener = listen(pid).and_then(|listener| Ok((listener.local_addr()?, listener)));
        match listener {
            Ok((address, listener)) => {
                sender.send(Ok(address)).unwrap_or_default();
                accept(&listener, &pictures);
            }
            Err(error) => sender.send(Err(error)).unwrap_or_default(),
        }
    });
    let address = receiver.recv().map_err(|_panicked| BenchError::Thread)?;
    address.map_err(failed)
}

fn listen(pid: i32) -> io::Result<TcpListener> {
    setns(
        File::open(format!("/proc/{pid}/ns/net"))?,
        CloneFlags::CLONE_NEWNET,
    )?;
    TcpListener::bind("127.0.0.1:0")
}

fn accept(listener: &TcpListener, pictures: &Arc<Vec<Picture>>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let pictures = Arc::clone(pictures);
        // A client that leaves early ends its thread with an error, which is nobody's.
        thread::spawn(move || answer_all(&stream, &pictures).unwrap_or_default());
    }
}

fn answer_all(stream: &TcpStream, pictures: &[Picture]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while reader.read_line(&mut header)? > 2 {
            header.clear();
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        answer(stream, method == "HEAD", find(path, pictures))?;
    }
}

enum Answer<'a> {
    Hello,
    Manifest(&'a [u8]),
    Blob(PathBuf),
    Unknown,
}

/// `/v2/bench/<image>/manifests/<any>` and `/v2/bench/<image>/blobs/<digest>`.
fn find<'a>(path: &str, pictures: &'a [Picture]) -> Answer<'a> {
    let parts: Vec<&str> = path.split('?').next().unwrap_or(path).split('/').collect();
    match parts.as_slice() {
        ["", "v2", ""] => Answer::Hello,
        ["", "v2", "bench", image, kind, name] => {
            let mut pictures = pictures.iter();
            match (
                pictures.find(|picture| picture.kind.name() == *image),
                *kind,
            ) {
                (Some(picture), "manifests") => Answer::Manifest(&picture.manifest),
                (Some(picture), "blobs") => Answer::Blob(picture.folder.join(name)),
                _ => Answer::Unknown,
            }
        }
        _ => Answer::Unknown,
    }
}

fn answer(mut stream: &TcpStream, is_head: bool, answer: Answer<'_>) -> io::Result<()> {
    let head = |status: &str, media_type: &str, length: u64, more: &str| {
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n{more}\r\n"
        )
    };
    match answer {
        Answer::Hello => stream.write_all(head("200 OK", "text/plain", 0, "").as_bytes()),
        Answer::Unknown => stream.write_all(head("404 Not Found", "text/plain", 0, "").as_bytes()),
        Answer::Manifest(bytes) => {
            let digest = digest_of(Sha256::new_with_prefix(bytes));
            let media_type = "application/vnd.oci.image.manifest.v1+json";
            let more = format!("Docker-Content-Digest: {digest}\r\n");
            let mut text = head("200 OK", media_type, bytes.len() as u64, &more).into_bytes();
            if !is_head {
                text.extend_from_slice(bytes);
            }
            stream.write_all(&text)
        }
        Answer::Blob(path) => send_file(stream, is_head, &path, head),
    }
}

fn send_file(
    mut stream: &TcpStream,
    is_head: bool,
    path: &Path,
    head: impl Fn(&str, &str, u64, &str) -> String,
) -> io::Result<()> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    stream.write_all(head("200 OK", "application/octet-stream", length, "").as_bytes())?;
    let mut left = if is_head { 0 } else { length };
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(1 << 20);
        let sent = rustix::fs::sendfile(stream, &file, None, most)?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= sent as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::arguments::Kind;

    #[test]
    fn root_manifests_and_blobs_are_served_on_one_connection() {
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join("sha256:1"))
            .and_then(|mut file| file.write_all(b"blob"))
            .unwrap();
        let picture = Picture {
            kind: Kind::Small,
            folder: folder.path().to_owned(),
            manifest: b"{}".to_vec(),
            layers: Vec::new(),
        };
        let own = i32::try_from(std::process::id()).unwrap();
        let Ok(address) = serve(own, vec![picture]) else {
            println!("SKIP not root");
            return;
        };
        let mut stream = TcpStream::connect(address).unwrap();
        for path in ["manifests/1", "blobs/sha256:1"] {
            let request = format!("GET /v2/bench/small/{path} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
        }
        stream
            .write_all(b"GET /v2/bench/other/blobs/1 HTTP/1.1\r\n\r\n")
            .unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(
            text.contains("Docker-Content-Digest: sha256:44136fa355b3678a"),
            "{text}"
        );
        assert!(text.contains("\r\n\r\n{}HTTP/1.1 200 OK"), "{text}");
        assert!(
            text.contains("Content-Length: 4\r\n\r\nblobHTTP/1.1 404"),
            "{text}"
        );
    }
}
