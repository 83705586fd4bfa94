package conversation

import "github.com/parley-go/parley/event"

// Events from the client. Each is acknowledged with its result, or with a refusal that has a [Code].
const (
	Hello             = event.RPC[HelloRequest, HelloAnswer]("hello")
	StartConversation = event.RPC[StartRequest, Started]("startConversation")
	JoinRoom          = event.RPC[JoinRequest, Joined]("joinRoom")
	LeaveRoom         = event.RPC[RoomRequest, RoomRequest]("leaveRoom")
	SendMessage       = event.RPC[SendRequest, Message]("sendMessage")
	EditMessage       = event.RPC[EditRequest, Message]("editMessage")
	DeleteMessage     = event.RPC[DeleteRequest, Message]("deleteMessage")
	History           = event.RPC[HistoryRequest, Page]("history")
	MarkRead          = event.RPC[MarkRequest, Marked]("markRead")
	MarkUnread        = event.RPC[MarkRequest, Marked]("markUnread")
	StartTyping       = event.RPC[TypingRequest, RoomRequest]("typing")
	ListRooms         = event.RPC[ListRequest, RoomList]("listRooms")
	WatchRooms        = event.RPC[WatchRequest, Watched]("watchRooms")
	UnwatchRooms      = event.RPC[Empty, Empty]("unwatchRooms")
	ClaimRoom         = event.RPC[RoomRequest, Room]("claimRoom")
	TransferRoom      = event.RPC[TransferRequest, Room]("transferRoom")
	CloseRoom         = event.RPC[CloseRequest, Room]("closeRoom")
	ReopenRoom        = event.RPC[RoomRequest, Room]("reopenRoom")
	Answered          = event.RPC[RoomRequest, Room]("answered")
	UpdateRoom        = event.RPC[UpdateRequest, Room]("updateRoom")
	AddNote           = event.RPC[NoteRequest, Message]("addNote")
	Search            = event.RPC[SearchRequest, Found]("search")
	Identify          = event.RPC[TokenRequest, Identified]("identify")
	Refresh           = event.RPC[TokenRequest, Expiry]("refresh")
	SetStatus         = event.RPC[StatusRequest, StatusRequest]("setStatus")
	GetPerson         = event.RPC[PersonRequest, PersonAnswer]("getPerson")
	UpdatePerson      = event.RPC[PersonUpdate, PersonAnswer]("updatePerson")
)

// Events from the server.
const (
	NewMessage      = event.Event[Message]("newMessage")
	MessageChanged  = event.Event[Message]("messageChanged")
	NewNote         = event.Event[Message]("newNote")
	NoteChanged     = event.Event[Message]("noteChanged")
	RoomChanged     = event.Event[RoomNews]("roomChanged")
	OwnRoomChanged  = event.Event[OwnRoomNews]("roomChanged") // the same event, as the conversation's user gets it
	RoomGone        = event.Event[RoomLoss]("roomGone")
	Read            = event.Event[ReadNews]("read")
	Typing          = event.Event[TypingNews]("typing")
	PresenceChanged = event.Event[PresenceNews]("presence")
	OperatorChanged = event.Event[OperatorPresence]("operatorChanged")
	VisitorChanged  = event.Event[VisitorNews]("visitorChanged")
	TokenExpiring   = event.Event[Expiry]("tokenExpiring")

	// A client that asks for no acknowledgement gets these instead of the answers to History and
	// JoinRoom, and of a refusal.
	PageSent    = event.Event[Page]("history")
	JoinedSent  = event.Event[Joined]("history")
	ErrorNotice = event.Event[Notice]("error")
)
