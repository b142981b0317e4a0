"""What is said to a user about a text: data first (`Diagnostic`), text last (`render`)."""

from nnspec.diagnostics.codes import CODES as CODES
from nnspec.diagnostics.diagnostic import Diagnostic as Diagnostic
from nnspec.diagnostics.diagnostic import Edit as Edit
from nnspec.diagnostics.diagnostic import Fix as Fix
from nnspec.diagnostics.diagnostic import Note as Note
from nnspec.diagnostics.many import MOST_FINDINGS as MOST_FINDINGS
from nnspec.diagnostics.many import first_of as first_of
from nnspec.diagnostics.render import render as render
from nnspec.diagnostics.render import render_all as render_all
from nnspec.diagnostics.render import render_each as render_each
from nnspec.diagnostics.source import MAX_BYTES as MAX_BYTES
from nnspec.diagnostics.source import Source as Source
from nnspec.diagnostics.source import SourceError as SourceError
from nnspec.diagnostics.source import Span as Span
from nnspec.diagnostics.source import read_source as read_source
from nnspec.diagnostics.source import source_of as source_of
from nnspec.diagnostics.suggest import nearest as nearest
