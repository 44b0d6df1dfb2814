use super::encode::{MAGIC, Plan};
use super::page::{ChunkSize, Holds, header};
use super::*;
use crate::config::{Compression, Decode, Element, ParquetColumn, ParquetCompression};
use crate::format::{Access, Companion};
use crate::plan::fill::FillSource;
use crate::storage::Extent;

/// A file in memory.
struct Memory<'a>(&'a [u8]);

impl Source for Memory<'_> {
    fn file_len(&mut self) -> Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let end = offset + buf.len() as u64;
        let bytes = self.0.get(offset as usize..end as usize);
        buf.copy_from_slice(bytes.ok_or(FormatError::Truncated {
            expected: end,
            got: self.0.len() as u64,
        })?);
        Ok(())
    }
    fn companion(&mut self, _: &Companion, _: u64) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

fn column(name: &str, dtype: &str, size: u64) -> ParquetColumn {
    ParquetColumn {
        name: name.into(),
        dtype: dtype.into(),
        size,
        read: None,
    }
}

/// Every dtype of the documentation, and an unknown one.
fn every_column() -> Vec<ParquetColumn> {
    let numbers = [
        "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16",
        "float32", "float64",
    ];
    let mut all: Vec<_> = numbers
        .iter()
        .map(|dtype| column(dtype, dtype, 1))
        .collect();
    all.extend(
        numbers
            .iter()
            .map(|dtype| column(&format!("{dtype}s"), dtype, 5)),
    );
    all.extend([
        column("list", "list", 1),
        column("other", "bfloat16", 3),
        column("binary", "binary", 7),
        column("bool", "bool", 1),
        column("string", "string", 1),
    ]);
    all
}

fn options(columns: Vec<ParquetColumn>, row_group: u64) -> FormatOptions {
    let mut options = FormatOptions::default();
    options.parquet.columns = columns;
    options.parquet.row_group_size = row_group;
    options
}

fn spec(options: &FormatOptions, samples: u64) -> FileSpec<'_> {
    FileSpec {
        sample_dims: &[6, 5],
        samples,
        element: Element::BYTE,
        fill: FillSource::new(10).file(3),
        file: 3,
        options,
    }
}

fn encoded(spec: &FileSpec) -> Vec<u8> {
    let mut file = Vec::new();
    Parquet
        .encode(spec, &mut [0; 1000], &mut |bytes| {
            file.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
    file
}

fn index(file: &[u8], options: &FormatOptions) -> Result<Arc<dyn Index>> {
    Parquet.index(&mut Memory(file), options)
}

fn bytes_of(file: &[u8], extents: &[Extent]) -> Vec<u8> {
    extents
        .iter()
        .flat_map(|extent| match extent {
            Extent::Whole => file,
            Extent::Range { offset, len } => &file[*offset as usize..(offset + len) as usize],
        })
        .copied()
        .collect()
}

/// Reads some samples as a run does; says how many bytes it read.
fn read(
    file: &[u8],
    options: &FormatOptions,
    decode: Decode,
    (first, count): (u64, u64),
    access: Access,
    step: usize,
) -> Result<usize> {
    let index = index(file, options)?;
    let mut extents = Vec::new();
    index.extents(first, count, access, &mut extents);
    let mut checker = Parquet.checker(decode, options);
    checker.begin(&Opened {
        file_len: file.len() as u64,
        expect: Expect {
            samples: index.samples(),
            sample: first,
            count,
            min_len: MIN_LEN,
        },
        extents: &extents,
        index: Some(&index),
        spec: None,
    });
    let bytes = bytes_of(file, &extents);
    for chunk in bytes.chunks(step) {
        checker.push(chunk)?;
    }
    checker.finish()?;
    Ok(bytes.len())
}

fn read_all(file: &[u8], options: &FormatOptions, decode: Decode) -> Result<usize> {
    let samples = index(file, options)?.samples();
    read(file, options, decode, (0, samples), Access::Random, 4096)
}

#[test]
fn the_length_is_known_before_encoding() {
    let is_narrow = |dtype: &str| dtype.ends_with("int8") || dtype.ends_with("16");
    let mut columns = every_column();
    columns.retain(|column| column.dtype != "string" && !is_narrow(&column.dtype));
    // Pages end within a row group, and within a list.
    columns.push(column("long", "uint8", 70_001));
    columns.push(column("longer", "float64", 200_003));
    for (samples, row_group) in [(1, 1), (10, 3), (10, 5), (11, 1024)] {
        let options = options(columns.clone(), row_group);
        let spec = spec(&options, samples);
        assert_eq!(
            Parquet.encoded_len(&spec),
            Some(encoded(&spec).len() as u64),
            "{samples} rows by {row_group}"
        );
    }
    // Dictionaries of few small numbers, and texts, depend on the values.
    for dtype in ["uint8", "int16", "float16", "string"] {
        let options = options(vec![column("a", dtype, 1)], 4);
        assert_eq!(Parquet.encoded_len(&spec(&options, 4)), None, "{dtype}");
    }
}

#[test]
fn what_cannot_be_written_is_refused_by_name() {
    let refused = |change: &dyn Fn(&mut FormatOptions)| {
        let mut options = options(vec![column("a", "int32", 1)], 10);
        change(&mut options);
        Parquet
            .supports(&spec(&options, 3))
            .unwrap_err()
            .to_string()
    };
    for (said, change) in [
        (
            "partition_by=a is not possible",
            &(|o: &mut FormatOptions| o.parquet.partition_by = Some("a".into()))
                as &dyn Fn(&mut FormatOptions),
        ),
        ("row_group_size=0", &|o| o.parquet.row_group_size = 0),
        ("'a' is empty or given twice", &|o| {
            o.parquet.columns.push(column("a", "bool", 1));
        }),
        ("column 'b' has dtype int8 and size 0", &|o| {
            o.parquet.columns.push(column("b", "int8", 0));
        }),
        ("dataset.compression=xz", &|o| {
            o.compression = Compression::Xz
        }),
        (
            "dataset.compression=gzip with dataset.parquet.compression=zstd",
            &|o| {
                o.compression = Compression::Gzip;
                o.parquet.compression = ParquetCompression::Zstd;
            },
        ),
    ] {
        let error = refused(change);
        assert!(error.contains(said), "{error}");
    }
}

/// A file of one column chunk of which the footer says the truth, but not the pages.
fn crafted(options: &FormatOptions, pages: &[u8], rows: u64) -> Vec<u8> {
    let spec = spec(options, rows);
    let mut file = MAGIC.to_vec();
    file.extend_from_slice(pages);
    let size = ChunkSize {
        stored: pages.len() as u64,
        plain: pages.len() as u64,
        dictionary: 0,
    };
    let len = Plan::new(&spec)
        .unwrap()
        .footer(&mut |_| size, &mut |bytes| {
            file.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
    file.extend_from_slice(&(len as u32).to_le_bytes());
    file.extend_from_slice(MAGIC);
    file
}

#[test]
fn pages_that_disagree_with_their_headers_are_refused() {
    let options = options(vec![column("a", "int32", 1)], 100);
    let mut gzip = options.clone();
    gzip.parquet.compression = ParquetCompression::Gzip;
    let mut packed = Vec::new();
    codec::Codec::Gzip
        .compress(9, &vec![0; 64 << 20], &mut packed)
        .unwrap();
    let page = |plain: usize, body: &[u8], values: u64| {
        let crc = crc32fast::hash(body);
        [
            &header(Holds::Plain, plain, body.len(), crc, values)[..],
            body,
        ]
        .concat()
    };
    // Levels of 100 values that are there, then the values.
    let good = [&[3, 0, 0, 0, 200, 1, 1][..], &[0; 400]].concat();
    let cases: [(&FormatOptions, Vec<u8>, &str); 7] = [
        (
            &gzip,
            page(1 << 30, &packed, 100),
            "pages of more than 256 MiB are not supported",
        ),
        (
            &gzip,
            page(1000, &packed, 100),
            "becomes more bytes where its header announces 1000",
        ),
        (
            &options,
            page(407, &good, 1 << 30),
            "hold 1073741824 or more rows",
        ),
        (
            &options,
            page(407, &good, 99),
            "hold 99 rows where the footer says 100",
        ),
        (
            &options,
            page(407, &good[..406], 100),
            "406 bytes and announces 407",
        ),
        (&options, page(406, &good[..406], 100), "cannot be decoded"),
        (
            &options,
            header(Holds::Plain, 407, 100_000, 0, 100),
            "a page of 100000 bytes is announced where the column chunk has 0 left",
        ),
    ];
    assert!(
        read_all(
            &crafted(&options, &page(407, &good, 100), 100),
            &options,
            Decode::Full
        )
        .is_ok()
    );
    for (options, pages, said) in cases {
        let file = crafted(options, &pages, 100);
        let error = read_all(&file, options, Decode::Full)
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{error}");
        assert!(error.contains("column a in row group 0"), "{error}");
    }
    // A list of more values than a page may have, in a few bytes.
    let lists = self::options(vec![column("a", "int32", 2)], 100);
    let few = [0u8; 64];
    let file = crafted(&lists, &page(64, &few, 1 << 30), 100);
    assert!(read_all(&file, &lists, Decode::Full).is_err());
}

#[test]
fn footers_that_announce_absurd_sizes_are_errors() {
    let options = options(vec![column("a", "int32", 1)], 100);
    let file = encoded(&spec(&options, 100));
    let footer_at = |file: &[u8]| {
        let at = file.len() - 8;
        let len = u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        at - len as usize
    };
    let mut bad = file.clone();
    let at = bad.len() - 8;
    bad[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = read_all(&bad, &options, Decode::None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("announces 4294967295 bytes in a file of"),
        "{error}"
    );
    // The schema, the second field, is a list of 2^63 elements.
    let start = footer_at(&file);
    let footer = [
        &[0x15, 4, 0x19, 0xfc][..],
        &[0xff; 9],
        &[0x01],
        &file[start + 4..file.len() - 8],
    ]
    .concat();
    let len = (footer.len() as u32).to_le_bytes();
    let bad = [&file[..start], &footer, &len, MAGIC].concat();
    let error = read_all(&bad, &options, Decode::None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("its footer is damaged"), "{error}");
    // Whatever byte of a footer is damaged, reading ends without a panic, and within the file.
    for at in footer_at(&file)..file.len() - 8 {
        for change in [1, 0x80, 0xff] {
            let mut bad = file.clone();
            bad[at] ^= change;
            let _ = read_all(&bad, &options, Decode::Full);
        }
    }
}

#[test]
fn a_file_without_rows_is_read() {
    let options = options(vec![column("a", "int32", 1)], 100);
    let spec = spec(&options, 0);
    let mut file = MAGIC.to_vec();
    let len = Plan::new(&spec)
        .unwrap()
        .footer(&mut |_| ChunkSize::default(), &mut |bytes| {
            file.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
    file.extend_from_slice(&(len as u32).to_le_bytes());
    file.extend_from_slice(MAGIC);
    assert_eq!(index(&file, &options).unwrap().samples(), 0);
}

#[test]
fn no_page_of_random_bytes_ends_the_program() {
    use super::footer::Leaf;
    use super::header::{PageHeader, PageKind};
    let mut random = crate::plan::mt19937::Mt19937::new(3);
    let (mut decoded, mut refused) = (0, 0);
    for round in 0..20_000 {
        let mut draw = |n: u32| random.next_u32() % n;
        let leaf = Leaf {
            path: vec!["a".into()],
            physical: draw(8) as i32,
            type_length: 1 + draw(5) as i32,
            max_definition: draw(3) as i16,
            max_repetition: draw(2) as i16,
        };
        let mut decoder = decode::ChunkDecoder::new(&leaf).unwrap();
        for page in 0..3 {
            // Small numbers make more sense as lengths, and go deeper.
            let highest = [256, 16, 4][draw(3) as usize];
            let len = draw(200);
            let body: Vec<u8> = (0..len).map(|_| draw(highest) as u8).collect();
            let (values, encoding) = (draw(100), draw(10) as i32);
            let header = PageHeader {
                kind: match (page, draw(2)) {
                    (0, _) => PageKind::Dictionary {
                        values: values.min(len / 12),
                        encoding: 0,
                    },
                    (_, 0) => PageKind::Data {
                        values,
                        encoding,
                        definition_encoding: 3,
                        repetition_encoding: 3,
                    },
                    _ => PageKind::DataV2 {
                        values,
                        nulls: 0,
                        rows: values,
                        encoding,
                        definition_len: draw(20),
                        repetition_len: draw(20),
                        is_compressed: false,
                    },
                },
                plain_len: body.len(),
                stored_len: body.len() as u64,
                crc: None,
            };
            match decoder.page(&header, codec::Codec::None, &body) {
                Ok(()) => decoded += 1,
                Err(FormatError::Damaged(_) | FormatError::Unsupported(_)) => refused += 1,
                Err(other) => panic!("round {round}: {other}"),
            }
        }
    }
    assert!(decoded > 1000 && refused > 1000, "{decoded} {refused}");
}
