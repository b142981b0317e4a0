"""Text to tree."""

from nnspec.syntax import tree as tree
from nnspec.syntax.parser import Parsed as Parsed
from nnspec.syntax.parser import parse as parse
from nnspec.syntax.parser import parse_expression as parse_expression
