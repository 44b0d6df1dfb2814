//! Containers and pickles against each other; Python's own readers judge them in the integration tests.

use std::io::Read;

use super::content::ContentSource;
use super::image::{Container, Image};
use super::load::{find_directory, parse_directory};
use super::pickle;
use crate::format::container::zip::{self, TORCH};
use crate::plan::checkpoint::{DType, FilePlan, State, TensorPlan};
use crate::plan::fill::Shrink;

fn tensor(group: Option<&str>, key: &str, dtype: DType, elements: u64) -> TensorPlan {
    TensorPlan {
        group: group.map(Into::into),
        key: key.into(),
        dtype,
        elements,
    }
}

fn plan() -> FilePlan {
    FilePlan {
        name: "model".into(),
        state: State::Layers,
        tensors: vec![
            tensor(Some("0"), "0", DType::Fp16, 1000),
            tensor(Some("0"), "1", DType::Bf16, 3),
            tensor(Some("1"), "0", DType::Fp32, 70_000),
            tensor(None, "combined", DType::Int8, 1),
            tensor(None, "last", DType::Fp64, 200),
        ],
    }
}

fn bytes(image: &Image, step: usize) -> Vec<u8> {
    let mut stream = image.stream();
    let (mut out, mut part) = (Vec::new(), vec![0; step]);
    loop {
        match stream.fill(&mut part) {
            0 => return out,
            n => out.extend(&part[..n]),
        }
    }
}

#[test]
fn length_is_exact_and_bytes_do_not_depend_on_the_pieces() {
    for container in [Container::PyTorch, Container::Npz] {
        for randomize in [true, false] {
            let source = ContentSource::new(10, randomize, Shrink::NOT);
            let image = Image::new(container, &plan(), "global_epoch1_step1", &source);
            let whole = bytes(&image, 1 << 20);
            assert_eq!(whole.len() as u64, image.len());
            for step in [1, 7, 64, 1000, 4096] {
                assert!(bytes(&image, step) == whole, "{container:?} {step}");
            }
        }
    }
}

#[test]
fn a_zip_library_reads_every_member_with_its_checksum() {
    for container in [Container::PyTorch, Container::Npz] {
        let source = ContentSource::new(10, true, Shrink::NOT);
        let image = Image::new(container, &plan(), "global_epoch1_step1", &source);
        let mut archive =
            ::zip::ZipArchive::new(std::io::Cursor::new(bytes(&image, 5000))).unwrap();
        assert_eq!(archive.len(), image.members().len());
        for (index, member) in image.members().iter().enumerate() {
            let mut file = archive.by_index(index).unwrap();
            assert_eq!(file.name().unwrap(), member.name);
            assert_eq!(file.data_start(), Some(member.data_offset));
            assert_eq!(file.data_start().unwrap() % 64, 0);
            let mut data = Vec::new();
            // The library compares the checksum at the end.
            file.read_to_end(&mut data).unwrap();
            let mut expected = member.prefix.clone();
            if let Some(body) = &member.body {
                let begin = expected.len();
                expected.resize(begin + body.len as usize, 0);
                body.content.fill(0, &mut expected[begin..]);
            }
            assert!(data == expected, "{}", member.name);
        }
    }
}

#[test]
fn ones_are_ones() {
    let source = ContentSource::new(10, false, Shrink::NOT);
    let content = source.tensor("f", "n", 0, &tensor(None, "0", DType::Fp32, 9));
    let mut out = [0; 36];
    content.fill(0, &mut out);
    for word in out.chunks_exact(4) {
        assert_eq!(f32::from_le_bytes(word.try_into().unwrap()), 1.0);
    }
    let mut part = [0; 5];
    content.fill(3, &mut part);
    assert_eq!(part, out[3..8]);
}

#[test]
fn contents_differ_by_checkpoint_file_and_tensor() {
    let source = ContentSource::new(10, true, Shrink::NOT);
    let t = tensor(None, "0", DType::Fp32, 256);
    let make = |folder, file, index| {
        let mut out = [0; 1024];
        source.tensor(folder, file, index, &t).fill(0, &mut out);
        out
    };
    let first = make("a", "b", 0);
    assert_eq!(first, make("a", "b", 0));
    for other in [make("a2", "b", 0), make("a", "b2", 0), make("a", "b", 1)] {
        assert_ne!(first, other);
    }
}

#[test]
fn members_and_offsets_beyond_32_bits_use_zip64() {
    let large = FilePlan {
        name: "optimizer".into(),
        state: State::Optimizer,
        tensors: vec![
            tensor(None, "0", DType::Fp32, (1 << 30) - 1),
            tensor(None, "1", DType::Fp32, 1 << 30),
            tensor(None, "2", DType::Fp32, 5),
        ],
    };
    let source = ContentSource::new(10, true, Shrink::NOT);
    let image = Image::new(Container::PyTorch, &large, "f", &source);
    let last = image.members().last().unwrap();
    assert!(last.offset > u64::from(u32::MAX));
    let entries: Vec<_> = (image.members().iter())
        .map(|m| m.entry(0x1234_5678))
        .collect();
    let begin = last.data_offset + last.len() + 16;
    let directory = TORCH.directory(&entries, begin);
    assert_eq!(begin + directory.len() as u64, image.len());
    let span = find_directory(&directory, image.len()).unwrap();
    assert_eq!((span.offset, span.entries), (begin, 6));
    let read = parse_directory(&directory, span).unwrap();
    assert_eq!(read, entries);
    for m in image.members() {
        let header = TORCH.local_header(&m.entry(0));
        assert_eq!(zip::local_len(&header), Some(header.len()));
        assert_eq!(m.offset + header.len() as u64, m.data_offset);
    }
}

#[test]
fn pickles_are_read_back() {
    let mut plan = plan();
    plan.tensors
        .push(tensor(None, "large", DType::Uint8, 1_155_307_717_000));
    plan.tensors.push(tensor(None, "x", DType::Uint8, 0x8000));
    plan.tensors
        .push(tensor(None, "y", DType::Uint8, 0xffff_ffff));
    let read = pickle::read(&pickle::write(&plan.tensors)).unwrap();
    assert_eq!(read.len(), plan.tensors.len());
    for (index, (r, t)) in read.iter().zip(&plan.tensors).enumerate() {
        assert_eq!((r.group.as_deref(), &*r.key), (t.group.as_deref(), &*t.key));
        assert_eq!((r.dtype, r.elements), (t.dtype, t.elements));
        assert_eq!(*r.storage, *index.to_string());
    }
}

#[test]
fn a_pickle_that_doubles_what_it_remembers_takes_no_memory() {
    // An empty tuple, and 13 times over a tuple of the last one eight times: 2^39 items if each were a copy.
    let mut doubling = vec![0x80, 2, b')', b'q', 0];
    for slot in 0..13 {
        doubling.push(b'(');
        doubling.extend([b'h', slot].repeat(8));
        doubling.extend([b't', b'q', slot + 1]);
    }
    doubling.push(b'.');
    assert!(pickle::read(&doubling).is_err());
    // And none that nests as deep as it is long.
    for nesting in [&[0x85][..], b"}NN", b"(N"] {
        let deep = [
            b"\x80\x02)".to_vec(),
            nesting.repeat(100_000),
            b".".to_vec(),
        ]
        .concat();
        assert!(pickle::read(&deep).is_err());
    }
}

#[test]
fn damaged_pickles_and_directories_are_refused() {
    let good = pickle::write(&plan().tensors);
    for cut in [0, 1, 10, good.len() / 2, good.len() - 1] {
        assert!(pickle::read(&good[..cut]).is_err(), "{cut}");
    }
    // os.system, which a pickle must never be able to name.
    assert!(pickle::read(b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.").is_err());
    assert!(find_directory(&[0; 10], 10).is_err());
    assert!(find_directory(&[0; 1000], 1000).is_err());
}
