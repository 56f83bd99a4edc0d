"""The unary methods that parties call on each other, by the names and types that the .proto files give them."""

from __future__ import annotations

from mpc.wire.coordinator.v1 import coordinator_pb2
from mpc.wire.node.v1 import node_pb2
from unseen.governance.documents import Signed
from unseen.rpc import Unary

NODE = "unseen.node.v1.Node"
DESCRIBE = Unary(NODE, "Describe", node_pb2.DescribeRequest, node_pb2.Description)
LIST_MANIFESTS = Unary(NODE, "ListManifests", node_pb2.ListManifestsRequest, node_pb2.Manifests)

CONTROL = "unseen.node.v1.Control"
ROTATE = Unary(CONTROL, "Rotate", node_pb2.RotateRequest, node_pb2.RotateReply)
STATUS = Unary(CONTROL, "Status", node_pb2.StatusRequest, node_pb2.NodeStatus)
CONTROL_SOCKET = "control"
"""Name of the socket on which a node serves its owner; see ``Home.socket``."""
OUT_SOCKET = "out"
"""Name of the socket through which a node's workers dial other parties."""

COORDINATOR = "unseen.coordinator.v1.Coordinator"
ANNOUNCE = Unary(COORDINATOR, "Announce", coordinator_pb2.Announcement, coordinator_pb2.Announced)
LIST = Unary(COORDINATOR, "List", coordinator_pb2.ListRequest, coordinator_pb2.Directory)
GET_CRL = Unary(COORDINATOR, "GetCrl", coordinator_pb2.GetCrlRequest, coordinator_pb2.Crl)
SHOW_MANIFEST = Unary(COORDINATOR, "ShowManifest", coordinator_pb2.Manifest, coordinator_pb2.FirstManifest)
LIST_EVIDENCE = Unary(COORDINATOR, "ListEvidence", coordinator_pb2.ListEvidenceRequest, coordinator_pb2.Evidence)
SUBMIT_JOB = Unary(COORDINATOR, "SubmitJob", coordinator_pb2.JobSubmission, coordinator_pb2.JobState)
GET_JOB = Unary(COORDINATOR, "GetJob", coordinator_pb2.JobRequest, coordinator_pb2.JobState)
CANCEL_JOB = Unary(COORDINATOR, "CancelJob", coordinator_pb2.JobRequest, coordinator_pb2.JobState)
LIST_JOBS = Unary(COORDINATOR, "ListJobs", coordinator_pb2.ListJobsRequest, coordinator_pb2.Jobs)
SYNC_JOBS = Unary(COORDINATOR, "SyncJobs", coordinator_pb2.JobNews, coordinator_pb2.JobOrders)


def job_socket(job: str) -> str:
    """Name of the socket on which the worker of a job listens."""
    return f"job-{job}"


def manifest_to_wire(signed: Signed) -> coordinator_pb2.Manifest:
    """A signed manifest as it travels to and from the coordinator."""
    return coordinator_pb2.Manifest(
        document=signed.document, signature=signed.signature, certificate=signed.certificate, signer=signed.signer
    )


def manifest_from_wire(manifest: coordinator_pb2.Manifest) -> Signed:
    """Inverse of `manifest_to_wire`."""
    return Signed(manifest.document, manifest.signature, manifest.signer, manifest.certificate)
