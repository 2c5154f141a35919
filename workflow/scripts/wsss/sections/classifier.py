"""The section classifier."""

from typing import Annotated

from pydantic import Field

from wsss.sections.section import LeftOut, about
from wsss.sections.training import Training


class Classifier(Training):
    """Trains the network whose maps become CAMs."""

    labels_from: LeftOut[Annotated[str, about("recipe whose IR labels supervise this net (AMN: cam)")]] = None
    held_out: Annotated[float, Field(ge=0, le=0.5), about("share of the labelled training photos that are kept out, to see what the classifier makes of photos it has not learned, but at most 100, or five a class where that is more; 0, the default: none. Not done with 20 labelled photos of val, which are used instead, nor with fewer than 100 to train on")] = 0.0
    unlabelled: Annotated[bool, about("learn from images without labels too: background all over; for nets that learn from labels of pixels (AMN, IRN, AffinityNet); default false")] = False
    saliency: Annotated[bool, about("learns from saliency maps too (EPS); which ones the dataset file says")] = False
