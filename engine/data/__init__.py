"""From text to the rows a model is trained on: sources, preparation, memory-mapped shards, feeding. No torch."""

from engine.data.prepare import ensure_dataset as ensure_dataset
from engine.data.prepare import prepare as prepare
from engine.data.progress import Progress as Progress
from engine.data.progress import Stopped as Stopped
from engine.data.recipe import Recipe as Recipe
from engine.data.recipe import Source as Source
from engine.data.rows import Batch as Batch
from engine.data.rows import Epochs as Epochs
from engine.data.rows import Rows as Rows
from engine.data.rows import validation_rows as validation_rows
from engine.data.shards import Dataset as Dataset
from engine.data.shards import check_available as check_available
from engine.data.shards import check_fit as check_fit
from engine.data.shards import open_dataset as open_dataset
from engine.data.sources import documents as documents
