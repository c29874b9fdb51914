//! An archive of images: what was read of one can be written, and is read again as the same image.
#![no_main]

use std::io::Cursor;
use swarm_images::ImageArchive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(archive) = ImageArchive::read(Cursor::new(data)) else { return };
    for image in archive.images.iter().take(4) {
        // Layers of one name may be large together: each is a part of the archive.
        if image.layers.len() > 64 {
            continue;
        }
        let mut out = Vec::new();
        archive.write(image, 0, Cursor::new(data), &mut out).unwrap();
        let again = ImageArchive::read(Cursor::new(&out)).unwrap();
        let digests = |of: &swarm_images::Image| of.layers.iter().map(|l| (l.digest.clone(), l.size)).collect::<Vec<_>>();
        assert_eq!((&again.images[0].id, &again.images[0].tags), (&image.id, &image.tags));
        assert_eq!(digests(&again.images[0]), digests(image));
        assert_eq!(image.shared([digests(image).into_iter().map(|(d, _)| d).collect::<Vec<_>>().as_slice()]), image.layers.len());
    }
});
