//! Element types of samples, by numpy's names.

/// A numeric numpy dtype.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// numpy's name, such as `float32`.
    pub name: &'static str,
    /// numpy's array-protocol string, such as `<f4`.
    pub descr: &'static str,
    pub bytes: u64,
}

const ELEMENTS: [Element; 13] = [
    Element {
        name: "uint8",
        descr: "|u1",
        bytes: 1,
    },
    Element {
        name: "int8",
        descr: "|i1",
        bytes: 1,
    },
    Element {
        name: "uint16",
        descr: "<u2",
        bytes: 2,
    },
    Element {
        name: "int16",
        descr: "<i2",
        bytes: 2,
    },
    Element {
        name: "uint32",
        descr: "<u4",
        bytes: 4,
    },
    Element {
        name: "int32",
        descr: "<i4",
        bytes: 4,
    },
    Element {
        name: "uint64",
        descr: "<u8",
        bytes: 8,
    },
    Element {
        name: "int64",
        descr: "<i8",
        bytes: 8,
    },
    Element {
        name: "float16",
        descr: "<f2",
        bytes: 2,
    },
    Element {
        name: "float32",
        descr: "<f4",
        bytes: 4,
    },
    Element {
        name: "float64",
        descr: "<f8",
        bytes: 8,
    },
    Element {
        name: "complex64",
        descr: "<c8",
        bytes: 8,
    },
    Element {
        name: "complex128",
        descr: "<c16",
        bytes: 16,
    },
];

impl Element {
    /// uint8.
    pub const BYTE: Element = ELEMENTS[0];

    /// The element type of this name; None when it is not a numeric dtype.
    pub fn parse(name: &str) -> Option<Element> {
        ELEMENTS.into_iter().find(|e| e.name == name)
    }

    /// All names, for messages.
    pub fn names() -> String {
        ELEMENTS.map(|e| e.name).join(", ")
    }
}

/// Bytes of an element of this dtype name.
pub fn element_bytes(name: &str) -> Option<u64> {
    Element::parse(name).map(|e| e.bytes)
}
