"""Whether a deployment is set up as it should be, and what to do where it is not. Changes nothing.

The audit says whether promises were kept; this says whether they can be.
"""

from darkroom.doctor.examination import examine
from darkroom.doctor.findings import Deployment, Examination, Finding

__all__ = ["Deployment", "Examination", "Finding", "examine"]
