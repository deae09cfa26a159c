//! Reloads when a file of the configuration changes on disk. Watches folders, not files, so that
//! editors that save by renaming and Kubernetes' symlink swap are seen; what counts is whether
//! the contents are others, not which event came.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{info, warn};

use super::reload::ReloadRequest;

/// Quiet time after the last event before the files are looked at: a save is several events.
const SETTLE: Duration = Duration::from_millis(200);
/// Longest wait for that quiet in a folder that is never quiet.
const SETTLE_AT_MOST: Duration = Duration::from_secs(2);

/// Asks for a reload whenever the contents of one of `files` change, until the future is dropped.
pub async fn watch(files: Vec<PathBuf>, requests: mpsc::Sender<ReloadRequest>) {
    // One place is enough: an event says only "look again".
    let (tell, mut told) = mpsc::channel(1);
    let _watcher = match watch_folders(&files, tell) {
        Ok(watcher) => watcher,
        Err(error) => {
            warn!(%error, "files can't be watched; reload by SIGHUP");
            return;
        }
    };
    let mut seen = fingerprint(&files);
    while told.recv().await.is_some() {
        let quiet = async { while let Ok(Some(())) = timeout(SETTLE, told.recv()).await {} };
        let _ = timeout(SETTLE_AT_MOST, quiet).await;
        let now = fingerprint(&files);
        if std::mem::replace(&mut seen, now) != now {
            info!("files changed");
            request(&requests).await;
        }
    }
}

async fn request(requests: &mpsc::Sender<ReloadRequest>) {
    let (answer, outcome) = oneshot::channel();
    if requests.send(answer).await.is_ok() {
        // The reload logs its outcome; what matters here is that it is over.
        let _ = outcome.await;
    }
}

fn watch_folders(files: &[PathBuf], tell: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // Full means that a look is due already.
            let _ = tell.try_send(());
        }
    })?;
    for folder in folders(files) {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            warn!(folder = %folder.display(), %error, "folder not watched");
        }
    }
    Ok(watcher)
}

/// The folders of the files, and of every symlink on the way to them.
fn folders(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for file in files {
        let resolved = std::fs::canonicalize(file).ok();
        for path in [Some(file.as_path()), resolved.as_deref()]
            .into_iter()
            .flatten()
        {
            let folder = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            folders.push(folder.to_owned());
            // Kubernetes swaps `..data` beside the folder's own links.
            if let Some(parent) = folder
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty())
            {
                folders.push(parent.to_owned());
            }
        }
    }
    folders.sort();
    folders.dedup();
    folders
}

fn fingerprint(files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        std::fs::read(file).ok().hash(&mut hasher);
    }
    hasher.finish()
}
