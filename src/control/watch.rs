//! Reloads when a file of the configuration changes on disk. Watches folders, not files, so that
//! editors that save by renaming and Kubernetes' symlink swap are seen; what counts is whether
//! the contents are others, not which event came.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::config::contents;

use super::reload::ReloadRequest;

/// Quiet time after the last event before the files are looked at: a save is several events.
const SETTLE: Duration = Duration::from_millis(200);
/// Symbolic links followed on the way to one file, as the kernel does.
const MAX_LINKS: usize = 40;
/// Longest wait for that quiet in a folder that is never quiet.
const SETTLE_AT_MOST: Duration = Duration::from_secs(2);

/// The files of a configuration under watch, as they were when the watch began.
pub struct Watch {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    seen: u64,
    told: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Begins to watch `files`, and `directories` for files that come and go. `seen` is their
    /// [`fingerprint`] before they were read, where it was taken.
    ///
    /// # Errors
    /// When the system gives no watcher.
    pub fn begin(
        files: Vec<PathBuf>,
        directories: Vec<PathBuf>,
        seen: Option<u64>,
    ) -> notify::Result<Self> {
        // One place is enough: an event says only "look again".
        let (tell, told) = mpsc::channel(1);
        let watcher = watch_folders(&files, &directories, tell)?;
        let seen = seen.unwrap_or_else(|| fingerprint(&files, &directories));
        Ok(Self {
            files,
            directories,
            seen,
            told,
            _watcher: watcher,
        })
    }

    /// Asks for a reload whenever the contents change, until the future is dropped.
    pub async fn run(mut self, requests: mpsc::Sender<ReloadRequest>) {
        loop {
            let now = fingerprint(&self.files, &self.directories);
            if std::mem::replace(&mut self.seen, now) != now {
                info!("files changed");
                request(&requests).await;
            }
            if self.told.recv().await.is_none() {
                return;
            }
            let quiet =
                async { while let Ok(Some(())) = timeout(SETTLE, self.told.recv()).await {} };
            // A folder that is never quiet is looked at all the same.
            let _ = timeout(SETTLE_AT_MOST, quiet).await;
        }
    }
}

async fn request(requests: &mpsc::Sender<ReloadRequest>) {
    let (answer, outcome) = oneshot::channel();
    let request = ReloadRequest {
        dry_run: false,
        answer,
    };
    if requests.send(request).await.is_ok() {
        // The reload logs its outcome; what matters here is that it is over.
        let _ = outcome.await;
    }
}

fn watch_folders(
    files: &[PathBuf],
    directories: &[PathBuf],
    tell: mpsc::Sender<()>,
) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // Full means that a look is due already.
            let _ = tell.try_send(());
        }
    })?;
    for folder in folders(files)
        .into_iter()
        .chain(directories.iter().cloned())
    {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            warn!(folder = %folder.display(), %error, "folder not watched");
        }
    }
    Ok(watcher)
}

/// The folders in which a change can mean another file: those of the files, and those of every
/// link on the way to them, which Kubernetes and release scripts swap.
fn folders(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    for file in files {
        let mut path = file.clone();
        for _ in 0..MAX_LINKS {
            folders.insert(folder_of(&path));
            let Some(link) = first_link(&path) else { break };
            folders.insert(folder_of(&link));
            path = followed(&path, &link);
        }
    }
    folders
}

/// The shortest beginning of a path that is a symbolic link.
fn first_link(path: &Path) -> Option<PathBuf> {
    let mut beginnings: Vec<_> = path.ancestors().collect();
    beginnings.reverse();
    beginnings
        .into_iter()
        .find(|beginning| beginning.is_symlink())
        .map(Path::to_owned)
}

/// The path with its link replaced by what that points to.
fn followed(path: &Path, link: &Path) -> PathBuf {
    let target = folder_of(link).join(fs::read_link(link).unwrap_or_default());
    match path.strip_prefix(link) {
        Ok(rest) if !rest.as_os_str().is_empty() => target.join(rest),
        _ => target,
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// What the files hold, and which files the directories hold.
pub fn fingerprint(files: &[PathBuf], directories: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        contents(file).hash(&mut hasher);
    }
    for directory in directories {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort_unstable();
        names.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_folder_whose_change_can_mean_another_file_is_watched() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("mounted/..one")).unwrap();
        fs::write(root.join("mounted/..one/edge.toml"), "").unwrap();
        symlink("..one", root.join("mounted/..data")).unwrap();
        symlink("..data/edge.toml", root.join("mounted/edge.toml")).unwrap();
        symlink("mounted", root.join("current")).unwrap();

        let watched = folders(&[root.join("current/edge.toml")]);
        let expected = [
            root.clone(),
            root.join("current"),
            root.join("mounted"),
            root.join("mounted/..data"),
            root.join("mounted/..one"),
        ];
        assert_eq!(watched, BTreeSet::from(expected));
    }
}
