"""Text to tree."""

from nnspec.syntax import tree as tree
from nnspec.syntax.layout import MAX_TOKENS as MAX_TOKENS
from nnspec.syntax.parser import Parsed as Parsed
from nnspec.syntax.parser import parse as parse
