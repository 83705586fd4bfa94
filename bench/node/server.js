// The bench application on the reference server; the port is the last argument.
import { Server } from "socket.io";

const io = new Server(Number(process.argv.at(-1)));
io.on("connection", (socket) => {
  socket.on("echo", (value) => socket.emit("echo", value));
  socket.on("ackme", (value, acknowledge) => acknowledge(value));
  socket.on("joinRoom", ({ roomId }, acknowledge) => {
    socket.join(roomId);
    acknowledge(true);
  });
  socket.on("sendMessage", ({ roomId, message }) => io.to(roomId).emit("newMessage", message));
});
