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
    Element::new("uint8", "|u1", 1),
    Element::new("int8", "|i1", 1),
    Element::new("uint16", "<u2", 2),
    Element::new("int16", "<i2", 2),
    Element::new("uint32", "<u4", 4),
    Element::new("int32", "<i4", 4),
    Element::new("uint64", "<u8", 8),
    Element::new("int64", "<i8", 8),
    Element::new("float16", "<f2", 2),
    Element::new("float32", "<f4", 4),
    Element::new("float64", "<f8", 8),
    Element::new("complex64", "<c8", 8),
    Element::new("complex128", "<c16", 16),
];

impl Element {
    /// uint8.
    pub const BYTE: Element = ELEMENTS[0];

    const fn new(name: &'static str, descr: &'static str, bytes: u64) -> Element {
        Element { name, descr, bytes }
    }

    /// The element type of this name; None when it is not a numeric dtype.
    pub fn parse(name: &str) -> Option<Element> {
        ELEMENTS.into_iter().find(|e| e.name == name)
    }

    pub fn names() -> String {
        ELEMENTS.map(|e| e.name).join(", ")
    }
}

/// Bytes of an element of this dtype name.
pub fn element_bytes(name: &str) -> Option<u64> {
    Element::parse(name).map(|e| e.bytes)
}
