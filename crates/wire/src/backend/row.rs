//! RowDescription and DataRow.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::list::Values;
use crate::tag::BackendTag;

/// One column of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// The table it comes from; 0 if none.
    pub table_oid: u32,
    /// Its number in that table; 0 if none.
    pub attribute: i16,
    /// Its type.
    pub type_oid: u32,
    /// The size of the type; negative for variable ones.
    pub type_size: i16,
    /// The modifier of the type; -1 if none.
    pub type_modifier: i32,
    /// The format of the values: 0 is text, 1 is binary.
    pub format: i16,
}

impl<'a> Column<'a> {
    const fn plain(name: &'a [u8], type_oid: u32, type_size: i16) -> Self {
        let (table_oid, attribute, type_modifier, format) = (0, 0, -1, 0);
        Self { name, table_oid, attribute, type_oid, type_size, type_modifier, format }
    }

    /// Makes a column of type `text`.
    #[must_use]
    pub const fn text(name: &'a [u8]) -> Self {
        Self::plain(name, 25, -1)
    }

    /// Makes a column of type `int4`, written as text.
    #[must_use]
    pub const fn int4(name: &'a [u8]) -> Self {
        Self::plain(name, 23, 4)
    }

    /// Makes a column of type `int8`, written as text.
    #[must_use]
    pub const fn int8(name: &'a [u8]) -> Self {
        Self::plain(name, 20, 8)
    }

    /// Makes a column of type `numeric`, written as text.
    #[must_use]
    pub const fn numeric(name: &'a [u8]) -> Self {
        Self::plain(name, 1700, -1)
    }

    /// Makes a column of type `bytea`, written as text.
    #[must_use]
    pub const fn bytea(name: &'a [u8]) -> Self {
        Self::plain(name, 17, -1)
    }

    fn read(cursor: &mut Cursor<'a>) -> Result<Self, ProtocolError> {
        Ok(Self {
            name: cursor.cstr()?,
            table_oid: cursor.u32()?,
            attribute: cursor.i16()?,
            type_oid: cursor.u32()?,
            type_size: cursor.i16()?,
            type_modifier: cursor.i32()?,
            format: cursor.i16()?,
        })
    }
}

/// The columns of the rows that follow.
#[derive(Debug, Clone, Copy)]
pub struct RowDescription<'a> {
    count: u16,
    bytes: &'a [u8],
}

impl<'a> RowDescription<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The body is not a list of columns.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let count = cursor.u16()?;
        let bytes = cursor.rest();
        let mut walk = Cursor::new(bytes);
        for _ in 0..count {
            Column::read(&mut walk)?;
        }
        walk.finish()?;
        Ok(Self { count, bytes })
    }

    /// Returns the number of columns.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Tells whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Iterates the columns.
    pub fn iter(&self) -> impl Iterator<Item = Column<'a>> + use<'a> {
        let mut cursor = Cursor::new(self.bytes);
        (0..self.count).map_while(move |_| Column::read(&mut cursor).ok())
    }
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct DataRow<'a> {
    /// Its values.
    pub values: Values<'a>,
}

impl<'a> DataRow<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The body is not a list of values.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let values = Values::read(&mut cursor)?;
        cursor.finish()?;
        Ok(Self { values })
    }
}

/// Appends a RowDescription.
///
/// # Panics
/// More than `u16::MAX` columns.
pub fn row_description(out: &mut Vec<u8>, columns: &[Column<'_>]) {
    encode::message(out, BackendTag::RowDescription.byte(), |out| {
        encode::count(out, columns.len());
        for column in columns {
            encode::cstr(out, column.name);
            encode::u32(out, column.table_oid);
            encode::i16(out, column.attribute);
            encode::u32(out, column.type_oid);
            encode::i16(out, column.type_size);
            encode::i32(out, column.type_modifier);
            encode::i16(out, column.format);
        }
    });
}

/// Appends a DataRow.
///
/// # Panics
/// More than `u16::MAX` values.
pub fn data_row(out: &mut Vec<u8>, values: &[Option<&[u8]>]) {
    encode::message(out, BackendTag::DataRow.byte(), |out| {
        encode::count(out, values.len());
        for value in values {
            encode::value(out, *value);
        }
    });
}
