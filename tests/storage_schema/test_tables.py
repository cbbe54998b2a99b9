"""The tables' columns."""

from storage_schema.tables import CLIPS, EXTRACTIONS, ClipRow, ExtractionRow


def test_row_classes_have_the_columns_of_their_tables():
    for row, schema in ((ClipRow, CLIPS), (ExtractionRow, EXTRACTIONS)):
        assert list(row.__dataclass_fields__) == schema.names
        assert all(field.metadata[b"meaning"] for field in schema)
