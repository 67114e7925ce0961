// What can be done with a conversation from the list and from its head: rename, pin, folder, instructions, export, delete.

import { patch, post, remove } from "./api.js";
import { ask } from "./dialog.js";
import { openMenu } from "./menu.js";
import { _ } from "./text.js";
import { complain, toast } from "./toast.js";

/** Open the menu of `conversation`. `changed(fields)` hears of changes, `gone()` and `back()` of delete and undo. */
export function conversationMenu(button, conversation, { folders = [], changed, gone, back }) {
  const { id } = conversation;
  const change = (fields) => patch(`/api/conversations/${id}`, fields).then(() => changed(fields), complain);
  openMenu(button, [
    { icon: "pencil", label: _("Rename"), run: () => rename(conversation, change) },
    conversation.pinned
      ? { icon: "pin-off", label: _("Unpin"), run: () => change({ pinned: false }) }
      : { icon: "pin", label: _("Pin to the top"), run: () => change({ pinned: true }) },
    { icon: "folder", label: _("Move to a folder"), run: () => move(conversation, folders, change) },
    conversation.system === undefined ? undefined : { icon: "sliders-horizontal", label: _("Instructions"), detail: _("What the model always keeps in mind"), run: () => instruct(conversation, change) },
    null,
    { icon: "download", label: _("Export as Markdown"), href: `/api/conversations/${id}/export?as=markdown`, download: "" },
    { icon: "download", label: _("Export as JSON"), href: `/api/conversations/${id}/export?as=json`, download: "" },
    null,
    { icon: "trash-2", label: _("Delete"), tone: "danger", run: () => discard(conversation, gone, back) },
  ].filter((item) => item !== undefined), { label: _("This conversation") });
}

async function rename(conversation, change) {
  const title = await ask(_("Rename"), _("Title"), conversation.title);
  if (title?.trim()) await change({ title: title.trim() });
}

async function move(conversation, folders, change) {
  const help = _("Empty: in no folder. A new name makes a new folder.");
  const folder = await ask(_("Move to a folder"), _("Folder"), conversation.folder ?? "", { help, options: folders, save: _("Move") });
  if (folder !== null) await change({ folder: folder.trim() });
}

async function instruct(conversation, change) {
  const help = _("Sent before the conversation, from the next answer on.");
  const system = await ask(_("Instructions"), _("For this conversation"), conversation.system ?? "", { lines: 8, help });
  if (system !== null) await change({ system });
}

async function discard(conversation, gone, back) {
  try {
    await remove(`/api/conversations/${conversation.id}`);
  } catch (error) {
    return complain(error);
  }
  gone();
  const restore = () => post(`/api/conversations/${conversation.id}/restore`).then(back, complain);
  toast(_("“{title}” was deleted. It is kept for 30 days.", { title: conversation.title || _("Untitled") }), { action: { label: _("Undo"), run: restore } });
}
