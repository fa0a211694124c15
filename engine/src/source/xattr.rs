//! Extended attributes: access control lists, and what programs note beside a file.

use super::walk::SourceDir;
use rustix::fs::{fgetxattr, flistxattr, lgetxattr, llistxattr};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Names and values, ascending by name.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Most bytes of names and values of one entry.
pub const MOST_XATTR_BYTES: usize = 256 * 1024;

/// The longest list of names, and the longest value, that Linux has.
const ROOM: usize = 64 * 1024;

/// Room that is tried first, without setting anything aside.
const LITTLE_ROOM: usize = 256;

/// The extended attributes of an open file or folder; none where the file system has none.
///
/// # Errors
/// Those of the system, and `FileTooLarge` for more than [`MOST_XATTR_BYTES`].
pub fn xattrs_of(fd: impl AsFd) -> io::Result<Xattrs> {
    collect(|room| flistxattr(&fd, room), |name, room| fgetxattr(&fd, name, room))
}

/// The extended attributes of an entry that is not opened: a link, a pipe, a socket, a device.
///
/// # Errors
/// As [`xattrs_of`]. Without `/proc` there is no way to ask by descriptor: then none are found.
pub fn xattrs_of_entry(dir: &SourceDir, name: &[u8]) -> io::Result<Xattrs> {
    let path = [format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).as_bytes(), &dir.there(name)?].concat();
    collect(
        |room| match llistxattr(path.as_slice(), room) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(0),
            result => result,
        },
        |name, room| lgetxattr(path.as_slice(), name, room),
    )
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Xattrs> {
    let names = match with_room(&list) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        names => names?,
    };
    let mut xattrs = Vec::new();
    let mut total = 0;
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match with_room(|room| get(name, room)) {
            Ok(value) => {
                total += name.len() + value.len();
                xattrs.push((name.to_vec(), value));
            }
            // Removed since it was listed; or listed, but not for us (`trusted.*`, `security.*`).
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {}
            Err(e) => return Err(e.into()),
        }
        if total > MOST_XATTR_BYTES {
            let why = format!("the extended attributes have more than {MOST_XATTR_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

/// Asks with little room, which nearly always is enough, and then with all that can be needed.
fn with_room(ask: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut little = [0; LITTLE_ROOM];
    match ask(&mut little) {
        Err(Errno::RANGE) => {}
        len => return Ok(little.get(..len?).unwrap_or_default().to_vec()),
    }
    let mut bytes = vec![0; ROOM];
    let len = ask(&mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{XattrFlags, fsetxattr};
    use std::fs::File;

    #[test]
    fn attributes_of_a_file_come_back_in_order_and_exactly() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("f")).unwrap();
        assert_eq!(xattrs_of(&file).unwrap(), []);
        let wanted: Xattrs = vec![
            (b"user.empty".to_vec(), Vec::new()),
            (b"user.name".to_vec(), b"\0\xff\n".to_vec()),
            (b"user.zz".to_vec(), vec![7; 1000]),
        ];
        for (name, value) in wanted.iter().rev() {
            match fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()) {
                // A file system without attributes has nothing to show.
                Err(Errno::OPNOTSUPP) => return,
                set => set.unwrap(),
            }
        }
        assert_eq!(xattrs_of(&file).unwrap(), wanted);
        let folder = SourceDir::open(dir.path()).unwrap();
        assert_eq!(xattrs_of_entry(&folder, b"f").unwrap(), wanted);
        assert_eq!(xattrs_of(&folder).unwrap(), []);
        assert!(xattrs_of_entry(&folder, b"../f").is_err());
    }

    #[test]
    fn what_is_longer_than_the_little_room_is_asked_for_again() {
        let ask = |len: usize| {
            with_room(move |room| {
                let room = room.get_mut(..len).ok_or(Errno::RANGE)?;
                room.fill(7);
                Ok(len)
            })
        };
        for len in [0, 1, LITTLE_ROOM, LITTLE_ROOM + 1, ROOM] {
            assert_eq!(ask(len).unwrap(), vec![7; len]);
        }
        assert_eq!(ask(ROOM + 1).unwrap_err(), Errno::RANGE);
    }
}
