use super::*;
use crate::config::{Decode, Element};
use crate::format::{Expect, Opened, npy::Npy};
use crate::plan::fill::FillSource;
use crate::storage::Extent;

fn spec<'a>(dims: &'a [u64], samples: u64, dtype: &str) -> FileSpec<'a> {
    FileSpec {
        sample_dims: dims,
        samples,
        element: Element::parse(dtype).unwrap(),
        fill: FillSource::new(10).file(4),
        file: 4,
        options: OPTIONS.get_or_init(FormatOptions::default),
    }
}

static OPTIONS: std::sync::OnceLock<FormatOptions> = std::sync::OnceLock::new();

fn encoded(format: &dyn Format, spec: &FileSpec) -> Vec<u8> {
    let mut file = Vec::new();
    format
        .encode(spec, &mut [0; 1000], &mut |bytes| {
            file.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
    file
}

fn verdict(
    format: &dyn Format,
    decode: Decode,
    file: &[u8],
    samples: u64,
    step: usize,
) -> Result<()> {
    let mut checker = format.checker(decode, &FormatOptions::default());
    checker.begin(&Opened {
        file_len: file.len() as u64,
        expect: Expect {
            samples,
            sample: 0,
            count: 1,
            min_len: 0,
        },
        extents: &[Extent::Whole],
        index: None,
        spec: None,
    });
    for chunk in file.chunks(step) {
        checker.push(chunk)?;
    }
    checker.finish()
}

// Sizes that numpy's savez was seen to write: 9800 bytes of payload with 2 samples, 4900 with 1.
#[test]
fn file_sizes_are_numpys() {
    assert_eq!(encoded(&Npz, &spec(&[70, 70], 2, "uint8")).len(), 10_306);
    assert_eq!(encoded(&Npz, &spec(&[70, 70], 1, "uint8")).len(), 5_398);
    for (dims, n, dtype) in [
        (&[70u64, 70][..], 2, "uint8"),
        (&[3], 1, "float64"),
        (&[5, 4, 3], 7, "int16"),
    ] {
        let s = spec(dims, n, dtype);
        assert_eq!(Npz.encoded_len(&s), Some(encoded(&Npz, &s).len() as u64));
        assert_eq!(Npy.encoded_len(&s), Some(encoded(&Npy, &s).len() as u64));
    }
}

#[test]
fn deflated_archives_pass_and_a_bomb_does_not() {
    let options = FormatOptions {
        compression: crate::config::Compression::Zip,
        ..FormatOptions::default()
    };
    let mut spec = spec(&[40, 41], 3, "uint16");
    spec.options = &options;
    let file = encoded(&Npz, &spec);
    for decode in [Decode::Verify, Decode::Full] {
        verdict(&Npz, decode, &file, 3, 777).unwrap();
        verdict(&Npz, decode, &file[..file.len() / 2], 3, 777).unwrap_err();
    }
    // An honest archive of zeros that unpacks to a thousand times its size.
    let mut bomb = std::io::Cursor::new(Vec::new());
    let mut archive = zip::ZipWriter::new(&mut bomb);
    archive.start_file("x.npy", zip_options(9)).unwrap();
    let zeros = 200u64 << 20;
    archive.write_all(&header("|u1", &[zeros, 1])).unwrap();
    for _ in 0..zeros >> 20 {
        archive.write_all(&[0; 1 << 20]).unwrap();
    }
    archive.finish().unwrap();
    let error = verdict(&Npz, Decode::Full, bomb.get_ref(), 1, 1 << 20).unwrap_err();
    assert!(error.to_string().contains("announces"), "{error}");
}

#[test]
fn a_header_of_absurd_size_is_an_error() {
    for shape in [&[1 << 62, 4][..], &[1 << 40, 1 << 40]] {
        let mut start = header("<f8", shape);
        start.resize(start.len() + 64, 0);
        let error = verdict(&Npy, Decode::Verify, &start, shape[1], 777).unwrap_err();
        assert!(error.to_string().contains("announces"), "{error}");
    }
}
