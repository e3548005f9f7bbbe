"""What the real grpcio sees of a coordinator, as one JSON object on stdout.

    python3 grpcio_client.py ADDR

It knows nothing but what reflection tells. The board is empty before.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status

channel = grpc.insecure_channel(sys.argv[1])
database = ProtoReflectionDescriptorDatabase(channel)
pool = descriptor_pool.DescriptorPool(database)


def call(service, name, metadata=(), timeout=30, **fields):
    """Makes a call. What streams is answered as an iterator."""
    found = pool.FindServiceByName(f"ganger.v1.{service}").FindMethodByName(name)
    request = message_factory.GetMessageClass(found.input_type)
    answer = message_factory.GetMessageClass(found.output_type)
    path = f"/ganger.v1.{service}/{name}"
    make = channel.unary_stream if found.server_streaming else channel.unary_unary
    send = make(path, request.SerializeToString, answer.FromString)
    return send(request(**fields), metadata=metadata, timeout=timeout)


def refusal(**how):
    """How a call is refused."""
    try:
        return {"answer": str(call(**how))}
    except grpc.RpcError as error:
        found = {"code": error.code().name, "message": error.details()}
        status = rpc_status.from_call(error)
        if status is None:
            return found
        infos = []
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                infos.append(info)
        return {
            **found,
            "inner_message": status.message,
            "infos": len(infos),
            "reason": infos[0].reason,
            "domain": infos[0].domain,
            "metadata": dict(infos[0].metadata),
        }


def as_member(name):
    return (("ganger-member", name),)


seen = {}
for name in ["alice", "bob"]:
    call("TeamService", "AddMember", member={"name": name})
created = call("TaskService", "CreateTask", subject="Größe #1 100% prüfen")
seen["subject"] = created.task.subject
seen["id"] = str(created.task.id)
call("TaskService", "ClaimTask", as_member("alice"), task_id=1)
seen["held"] = refusal(
    service="TaskService", name="ClaimTask", metadata=as_member("bob"), task_id=1
)
late = {"wait": {"seconds": 60}, "timeout": 0.5}
seen["late"] = refusal(
    service="MailboxService", name="ReceiveMessages", metadata=as_member("bob"), **late
)
seen["events"] = []
try:
    for told in call("TeamService", "WatchTeam", timeout=0.5, after_revision=0):
        seen["events"].extend(str(event.task_id) for event in told.events)
    seen["stream_end"] = "OK"
except grpc.RpcError as error:
    seen["stream_end"] = error.code().name
print(json.dumps(seen))
